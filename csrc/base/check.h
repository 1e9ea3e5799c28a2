// Checks of untrusted values. A failed check throws planish::Error; the binding turns it into planish.PlanishError.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace planish {

// The one native exception. The text is a single line "WHERE: WHAT; REMEDY"; callers add context on the way up.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] void Fail(const std::string& message);

inline void Check(bool ok, const char* message) {
  if (!ok) Fail(message);
}

// Sizes and offsets from files or users are combined only through these: overflow is an error, never a wrap.
int64_t CheckedAdd(int64_t a, int64_t b);
int64_t CheckedMul(int64_t a, int64_t b);

}  // namespace planish
