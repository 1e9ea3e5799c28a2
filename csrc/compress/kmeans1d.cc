#include "compress/kmeans1d.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "base/check.h"

namespace planish {
namespace {

// The sorted distinct values with their multiplicities, as prefix sums about their mean.
class Line {
 public:
  Line(const float* values, size_t n) {
    std::vector<float> sorted(values, values + n);
    std::sort(sorted.begin(), sorted.end());
    long double total = 0;
    for (float v : sorted) total += v;
    mean_ = static_cast<double>(total / static_cast<long double>(n));
    long double count = 0, sum = 0, squares = 0;
    Append(0, 0, 0);
    for (size_t i = 0; i < n;) {
      size_t j = i;
      while (j < n && sorted[j] == sorted[i]) ++j;
      const long double x = static_cast<long double>(sorted[i]) - mean_;
      const long double times = static_cast<long double>(j - i);
      count += times;
      sum += times * x;
      squares += times * x * x;
      points_.push_back(sorted[i]);
      Append(count, sum, squares);
      i = j;
    }
  }

  // Number of distinct values.
  uint32_t size() const { return static_cast<uint32_t>(points_.size()); }
  float point(uint32_t i) const { return points_[i]; }

  // Squared distance of the values [begin, end) to their mean.
  double Cost(uint32_t begin, uint32_t end) const {
    const double n = count_[end] - count_[begin];
    const double sum = sum_[end] - sum_[begin];
    return std::max(0.0, squares_[end] - squares_[begin] - sum * sum / n);
  }

  double Mean(uint32_t begin, uint32_t end) const {
    return mean_ + (sum_[end] - sum_[begin]) / (count_[end] - count_[begin]);
  }

 private:
  void Append(long double count, long double sum, long double squares) {
    count_.push_back(static_cast<double>(count));
    sum_.push_back(static_cast<double>(sum));
    squares_.push_back(static_cast<double>(squares));
  }

  double mean_ = 0;
  std::vector<float> points_;
  std::vector<double> count_, sum_, squares_;
};

// The nodes of a path from 0 to n, both included; one more than its links.
using Path = std::vector<uint32_t>;

// The path of least sum of (Cost + price). A queue holds the candidates for the last link's start, each with
// the first end from which it is the best one; by the quadrangle inequality those ends ascend.
class PathFinder {
 public:
  explicit PathFinder(const Line& line) : line_(line), best_(line.size() + 1), from_(line.size() + 1) {}

  Path Find(double price) {
    const uint32_t n = line_.size();
    best_[0] = 0;
    queue_.assign(1, {0, 1});
    size_t head = 0;
    for (uint32_t end = 1; end <= n; ++end) {
      while (head + 1 < queue_.size() && queue_[head + 1].first_end <= end) ++head;
      const uint32_t start = queue_[head].start;
      best_[end] = best_[start] + line_.Cost(start, end) + price;
      from_[end] = start;
      if (end < n) Push(end, head);
    }
    Path path;
    for (uint32_t node = n; node != 0; node = from_[node]) path.push_back(node);
    path.push_back(0);
    std::reverse(path.begin(), path.end());
    return path;
  }

 private:
  struct Candidate {
    uint32_t start, first_end;
  };

  double Through(uint32_t start, uint32_t end) const { return best_[start] + line_.Cost(start, end); }

  // Adds candidate `start`, which is valid for ends beyond it.
  void Push(uint32_t start, size_t head) {
    const uint32_t n = line_.size();
    while (queue_.size() > head + 1) {
      const Candidate& last = queue_.back();
      if (last.first_end <= start || Through(start, last.first_end) > Through(last.start, last.first_end))
        break;
      queue_.pop_back();
    }
    const Candidate& last = queue_.back();
    // The least end in (max(start, first_end), n] where `start` is no worse than `last`.
    uint32_t low = std::max(start, last.first_end) + (last.first_end > start ? 0 : 1), high = n + 1;
    uint32_t step = 1;
    while (low + step < high) {  // gallop, then halve: the crossing is usually near
      const uint32_t probe = low + step;
      if (Through(start, probe) <= Through(last.start, probe)) {
        high = probe;
        break;
      }
      low = probe + 1;
      step *= 2;
    }
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      if (middle <= n && Through(start, middle) <= Through(last.start, middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    if (low <= n) queue_.push_back({start, low});
  }

  const Line& line_;
  std::vector<double> best_;
  std::vector<uint32_t> from_;
  std::vector<Candidate> queue_;
};

size_t Links(const Path& path) { return path.size() - 1; }

// From two best paths for the same price, one with fewer and one with more than `links` links: a best path
// with exactly `links`. It follows `more` up to a link of `fewer` that contains one of `more`, then goes on
// along `fewer`; by the quadrangle inequality the swapped links cost no more.
Path Join(const Path& fewer, const Path& more, size_t links) {
  const size_t extra = links - Links(fewer);
  for (size_t i = 0; i + 1 < fewer.size() && i + extra + 1 < more.size(); ++i) {
    if (fewer[i] <= more[i + extra] && more[i + extra + 1] <= fewer[i + 1]) {
      Path joined(more.begin(), more.begin() + static_cast<std::ptrdiff_t>(i + extra + 1));
      joined.insert(joined.end(), fewer.begin() + static_cast<std::ptrdiff_t>(i + 1), fewer.end());
      return joined;
    }
  }
  return fewer;
}

// Steps in which the price follows the cube law before the bracket is halved instead.
constexpr int kGuesses = 12;
constexpr int kMostSteps = 200;

// The best path with `links` links, 1 <= links < line.size().
Path FindWithLinks(const Line& line, size_t links) {
  PathFinder finder(line);
  const uint32_t n = line.size();
  if (links == 1) return {0, n};
  // At price 0 every point is a cluster; at the cost of one cluster for all, there is one.
  double low = 0, high = line.Cost(0, n);
  Path fewer = {0, n}, more;
  // For a smooth density the links of the best path go with the cube root of the price.
  double price = high / std::pow(static_cast<double>(links), 3);
  for (int step = 0; step < kMostSteps; ++step) {
    const Path path = finder.Find(price);
    if (Links(path) == links) return path;
    if (Links(path) < links) {
      high = price;
      fewer = path;
    } else {
      low = price;
      more = path;
    }
    const double ratio = static_cast<double>(Links(path)) / static_cast<double>(links);
    double next = price * ratio * ratio * ratio;
    const bool outside = !(next > low && next < high);
    if (step >= kGuesses || outside) next = low > 0 ? std::sqrt(low) * std::sqrt(high) : high / 16;
    if (!(next > low && next < high) || high - low <= 4 * std::numeric_limits<double>::epsilon() * high)
      break;
    price = next;
  }
  if (more.empty()) {  // every positive price in reach gives too few links: all distinct values apart
    more.resize(n + 1);
    for (uint32_t i = 0; i <= n; ++i) more[i] = i;
  }
  return Join(fewer, more, links);
}

}  // namespace

Clustering Kmeans1d(const float* values, size_t n, size_t k) {
  if (n == 0 || k == 0)
    Fail("kmeans1d: n = " + std::to_string(n) + ", k = " + std::to_string(k) + "; both must be positive");
  Check(n < std::numeric_limits<uint32_t>::max(), "kmeans1d: too many values; split the tensor");
  for (size_t i = 0; i < n; ++i)
    Check(std::isfinite(values[i]), "kmeans1d: a value is NaN or infinite; remove it");
  const Line line(values, n);
  const uint32_t points = line.size();
  Path path;
  if (points <= k) {
    for (uint32_t i = 0; i <= points; ++i) path.push_back(i);
  } else {
    path = FindWithLinks(line, k);
  }
  Clustering found;
  for (size_t c = 0; c + 1 < path.size(); ++c) {
    found.centroids.push_back(line.Mean(path[c], path[c + 1]));
    if (c > 0) found.boundaries.push_back(line.point(path[c]));
  }
  found.centroids.resize(k, found.centroids.back());
  found.boundaries.resize(k - 1, std::numeric_limits<double>::infinity());
  return found;
}

}  // namespace planish
