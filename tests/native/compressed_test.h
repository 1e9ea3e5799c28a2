// Checks of the kernels whose weights are compressed; see compressed_test.cc.
#pragma once

namespace planish {

// Returns the number of failures, each printed.
int CheckCompressedKernels();

}  // namespace planish
