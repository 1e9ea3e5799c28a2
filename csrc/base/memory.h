// Memory with the guarantees kernels rely on: 64-byte alignment and a readable tail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace planish {

inline constexpr int64_t kAlignment = 64;
inline constexpr int64_t kTail = 64;  // bytes that may be read (never written) behind the end

constexpr int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t AlignUp(int64_t n, int64_t alignment = kAlignment) {
  return DivideUp(n, alignment) * alignment;
}

// A shared, immutable-by-convention block: `data` is 64-byte aligned and kTail bytes behind `size` are readable.
struct Memory {
  std::byte* data = nullptr;
  int64_t size = 0;
  std::shared_ptr<void> owner;

  // Zero-filled, tail included. Large blocks are backed by whole pages.
  static Memory Allocate(int64_t size);
  // As Allocate, but ends `slack` bytes before an unreadable page, aligned to `alignment` where slack allows.
  static Memory AllocateGuarded(int64_t size, int64_t slack, int64_t alignment);
  // A file's contents: read where it is small, else mapped read-only (memory.cc: what must not happen to it then).
  static Memory MapFile(const std::string& path);
  // A 64-byte aligned part; throws Error if it is not inside this block.
  Memory Slice(int64_t offset, int64_t bytes) const;
};

// CRC-32C (Castagnoli polynomial, reflected, as in RFC 3720) of a block; hardware instructions where present.
uint32_t Crc32c(const std::byte* data, int64_t size);

}  // namespace planish
