// One-dimensional k-means at its global optimum.
#pragma once

#include <cstddef>
#include <vector>

namespace planish {

struct Clustering {
  // k means in ascending order; the last is repeated where there are fewer distinct values than k.
  std::vector<double> centroids;
  // k - 1 ascending bounds: a value v belongs to cluster |{b : b <= v}|. Infinite behind the last cluster.
  std::vector<double> boundaries;
};

// Splits `values` into at most k clusters of least total squared distance to their means.
//
// Minimises sum over clusters of sum (v - mean)^2, which in one dimension is a shortest path with k links
// over the sorted distinct values. Its link cost satisfies the quadrangle inequality, so the cost of the best
// path is convex in k: a price lambda a link is searched for which the best unrestricted path has k links
// (Aggarwal, Schieber and Tokuyama 1994); each such path is found in O(n log n) time and O(n) memory. The
// result is exact up to float64 rounding of the costs.
//
// Throws Error if n is 0, k is 0, or a value is not finite.
Clustering Kmeans1d(const float* values, size_t n, size_t k);

}  // namespace planish
