#include "base/processors.h"

#include <sched.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/check.h"

namespace planish {
namespace {

// quota / period, rounded up; INT_MAX where there is no quota.
int CpusOf(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return INT_MAX;
  return static_cast<int>(std::clamp<long long>((quota - 1) / period + 1, 1, INT_MAX));
}

// The quota set in one folder of a group: "QUOTA PERIOD" in cpu.max, where "max" is none; or two files of version 1.
int QuotaOf(const std::string& folder) {
  long long quota = -1, period = 0;
  if (std::ifstream file(folder + "/cpu.max"); file) {
    file >> quota >> period;
    return file ? CpusOf(quota, period) : INT_MAX;
  }
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
  std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return CpusOf(quota, period);
}

// The tightest quota of `group` ("/a/b") and the groups above it.
int TightestQuota(const std::string& root, std::string group) {
  int cpus = QuotaOf(root);
  while (!group.empty() && group != "/") {
    cpus = std::min(cpus, QuotaOf(root + group));
    group.erase(group.rfind('/'));
  }
  return cpus;
}

}  // namespace

int AffinityCount() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int QuotaCount(const std::string& groups, const std::string& mount) {
  int cpus = TightestQuota(mount, "");  // inside a container the group's own path may not be visible
  std::ifstream file(groups);
  for (std::string line; std::getline(file, line);) {  // HIERARCHY:CONTROLLERS:PATH
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos || line[second + 1] != '/') continue;
    const std::string path = line.substr(second + 1);
    std::istringstream controllers(line.substr(first + 1, second - first - 1));
    if (second == first + 1) cpus = std::min(cpus, TightestQuota(mount, path));
    for (std::string name; std::getline(controllers, name, ',');) {
      if (name == "cpu") cpus = std::min(cpus, TightestQuota(mount + "/cpu", path));
    }
  }
  return cpus;
}

int DefaultThreads() {
  if (const char* text = std::getenv("PLANISH_NUM_THREADS"); text && *text) {
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (*end || n < 1 || n > 1024) {
      Fail("PLANISH_NUM_THREADS: '" + std::string(text) + "' is not a number of threads; use a whole number from 1 to 1024");
    }
    return static_cast<int>(n);
  }
  return std::min(AffinityCount(), QuotaCount());
}

}  // namespace planish
