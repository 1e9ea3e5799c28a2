// How many processors this process may use.
#pragma once

#include <string>

namespace planish {

// The CPUs of the affinity mask.
int AffinityCount();

// CPUs granted by the bandwidth quotas of the process's control group and those above it, rounded up; INT_MAX without a
// quota. Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us). The arguments are for tests.
int QuotaCount(const std::string& groups = "/proc/self/cgroup", const std::string& mount = "/sys/fs/cgroup");

// PLANISH_NUM_THREADS, else the affinity mask cut by the quota. Throws Error for a wrong PLANISH_NUM_THREADS.
int DefaultThreads();

}  // namespace planish
