#include "base/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace planish {
namespace {

int64_t PageSize() {
  static const int64_t size = sysconf(_SC_PAGESIZE);
  return size;
}

std::byte* MapPages(int64_t bytes, int protection) {
  void* p = mmap(nullptr, static_cast<size_t>(bytes), protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    Fail("memory: cannot allocate " + std::to_string(bytes) + " bytes; use a smaller model, batch or input");
  }
  return static_cast<std::byte*>(p);
}

std::shared_ptr<void> Unmapper(std::byte* base, int64_t bytes) {
  return std::shared_ptr<void>(base, [bytes](void* p) { munmap(p, static_cast<size_t>(bytes)); });
}

// Where the kernel gives huge pages, a block takes whole ones: touching it for the first time costs a fault every two
// megabytes instead of every four kilobytes. The last one is taken as a whole if a quarter is needed.
Memory AllocateHuge(int64_t size, int64_t bytes) {
  constexpr int64_t kHugePage = 2 << 20;
  const int64_t rest = bytes % kHugePage;
  const int64_t used = rest >= kHugePage / 4 ? bytes + kHugePage - rest : bytes;
  const int64_t mapped = CheckedAdd(used, kHugePage);  // of which a part before or behind stays untouched
  std::byte* base = MapPages(mapped, PROT_READ | PROT_WRITE);
  std::byte* start = base + (kHugePage - static_cast<int64_t>(reinterpret_cast<uintptr_t>(base) % kHugePage)) % kHugePage;
  madvise(start, static_cast<size_t>(used), MADV_HUGEPAGE);
  return {start, size, Unmapper(base, mapped)};
}

// Files of at most this size are read, not mapped: a file that is cut short while it is mapped ends the process with
// SIGBUS as soon as what is missing is touched. Larger ones must be replaced by renaming, never written into. Reading
// them would cost more than all else that a session's creation from a plan takes: fresh pages, and a copy.
constexpr int64_t kReadBelow = 128 << 10;

// Exactly `size` bytes of a file; throws Error where it is shorter.
void ReadBytes(int fd, std::byte* to, int64_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t n = read(fd, to, static_cast<size_t>(size));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Fail(path + ": cannot read the file (" + std::strerror(errno) + "); copy it to a local disk");
    if (n == 0) Fail(path + ": the file became shorter while it was read; copy or export it again");
    to += n;
    size -= n;
  }
}

struct FileDescriptor {
  int fd;
  ~FileDescriptor() {
    if (fd >= 0) close(fd);
  }
};

// On the heap, uninitialised.
Memory AllocateHeap(int64_t size, int64_t bytes) {
  void* p = std::aligned_alloc(kAlignment, static_cast<size_t>(bytes));
  if (!p) Fail("memory: cannot allocate " + std::to_string(bytes) + " bytes; use a smaller model, batch or input");
  return {static_cast<std::byte*>(p), size, std::shared_ptr<void>(p, std::free)};
}

// Larger blocks are pages of their own.
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kWholePages = INT64_MAX;  // all on the heap, which AddressSanitizer watches
#else
constexpr int64_t kWholePages = 1 << 20;
#endif

// A file's contents, and zeros behind them.
Memory ReadFile(int fd, int64_t size, const std::string& path) {
  const int64_t bytes = AlignUp(CheckedAdd(size, kTail));
  Memory memory = AllocateHeap(size, bytes);
  ReadBytes(fd, memory.data, size, path);
  std::memset(memory.data + size, 0, static_cast<size_t>(bytes - size));
  return memory;
}

}  // namespace

Memory Memory::Allocate(int64_t size) {
  Check(size >= 0, "memory: a negative size; this is a bug in planish");
  const int64_t bytes = AlignUp(CheckedAdd(size, kTail));
  if (bytes >= kWholePages) return AllocateHuge(size, bytes);
  Memory memory = AllocateHeap(size, bytes);
  std::memset(memory.data, 0, static_cast<size_t>(bytes));
  return memory;
}

Memory Memory::AllocateGuarded(int64_t size, int64_t slack, int64_t alignment) {
  const int64_t usable = AlignUp(CheckedAdd(size, slack + alignment), PageSize());
  const int64_t bytes = usable + PageSize();
  std::byte* base = MapPages(bytes, PROT_READ | PROT_WRITE);
  mprotect(base + usable, static_cast<size_t>(PageSize()), PROT_NONE);
  const int64_t start = (usable - slack - size) / alignment * alignment;
  return {base + start, size, Unmapper(base, bytes)};
}

Memory Memory::MapFile(const std::string& path) {
  const FileDescriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat info;
  if (file.fd < 0 || fstat(file.fd, &info) != 0) Fail(path + ": cannot open the file (" + std::strerror(errno) + "); check the path");
  if (!S_ISREG(info.st_mode)) Fail(path + ": not a regular file; give the path of a file");
  const int64_t size = info.st_size;
  if (size <= kReadBelow) return ReadFile(file.fd, size, path);
  const int64_t pages = AlignUp(size + kTail, PageSize());
  std::byte* base = MapPages(pages, PROT_READ);
  std::shared_ptr<void> owner = Unmapper(base, pages);
  if (size > 0) {
    void* p = mmap(base, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, file.fd, 0);
    if (p == MAP_FAILED) Fail(path + ": cannot map the file (" + std::strerror(errno) + "); copy it to a local disk");
  }
  return {base, size, std::move(owner)};
}

Memory Memory::Slice(int64_t offset, int64_t bytes) const {
  const bool inside = offset >= 0 && bytes >= 0 && offset <= size && bytes <= size - offset;
  Check(inside && offset % kAlignment == 0, "memory: a slice outside its block; the file is damaged, export it again");
  return {data + offset, bytes, owner};
}

namespace {

constexpr uint32_t kCastagnoli = 0x82F63B78u;

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ ((crc & 1) ? kCastagnoli : 0);
    table[i] = crc;
  }
  return table;
}

uint32_t CrcScalar(uint32_t crc, const std::byte* data, int64_t size) {
  static constexpr std::array<uint32_t, 256> table = MakeTable();
  for (int64_t i = 0; i < size; ++i) crc = (crc >> 8) ^ table[(crc ^ static_cast<uint8_t>(data[i])) & 0xFF];
  return crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) uint32_t CrcHardware(uint32_t crc, const std::byte* data, int64_t size) {
  uint64_t state = crc;
  for (; size >= 8; size -= 8, data += 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    state = __builtin_ia32_crc32di(state, word);
  }
  uint32_t tail = static_cast<uint32_t>(state);
  for (; size > 0; --size, ++data) tail = __builtin_ia32_crc32qi(tail, static_cast<uint8_t>(*data));
  return tail;
}

// Blocks of three parts of this size are computed side by side: that hides the three-cycle latency of the instruction.
constexpr int64_t kPart = 4096;

// The crc of a block followed by kPart zero bytes, from the crc state of the block: a linear map over GF(2), as a table
// per byte of the state. It joins parts that were computed independently.
using Map = std::array<uint32_t, 32>;  // by bit of the argument

constexpr uint32_t Apply(const Map& map, uint32_t v) {
  uint32_t sum = 0;
  for (int i = 0; v; v >>= 1, ++i) sum ^= (v & 1) ? map[i] : 0;
  return sum;
}

constexpr std::array<std::array<uint32_t, 256>, 4> MakeShiftByPart() {
  Map map{};  // of one zero bit; each squaring doubles their number
  map[0] = kCastagnoli;
  for (int i = 1; i < 32; ++i) map[i] = 1u << (i - 1);
  for (int64_t bits = 1; bits < kPart * 8; bits *= 2) {
    Map squared{};
    for (int i = 0; i < 32; ++i) squared[i] = Apply(map, map[i]);
    map = squared;
  }
  std::array<std::array<uint32_t, 256>, 4> table{};
  for (int byte = 0; byte < 4; ++byte) {
    for (uint32_t v = 0; v < 256; ++v) table[byte][v] = Apply(map, v << (8 * byte));
  }
  return table;
}

uint32_t ShiftByPart(uint32_t crc) {
  static constexpr std::array<std::array<uint32_t, 256>, 4> table = MakeShiftByPart();
  return table[0][crc & 0xFF] ^ table[1][crc >> 8 & 0xFF] ^ table[2][crc >> 16 & 0xFF] ^ table[3][crc >> 24];
}

// Of 3 * kPart bytes.
__attribute__((target("sse4.2"))) uint32_t CrcThreeWay(uint32_t crc, const std::byte* data) {
  uint64_t a = crc, b = 0, c = 0;
  for (int64_t i = 0; i < kPart; i += 8) {
    uint64_t wa, wb, wc;
    std::memcpy(&wa, data + i, 8);
    std::memcpy(&wb, data + kPart + i, 8);
    std::memcpy(&wc, data + 2 * kPart + i, 8);
    a = __builtin_ia32_crc32di(a, wa);
    b = __builtin_ia32_crc32di(b, wb);
    c = __builtin_ia32_crc32di(c, wc);
  }
  return ShiftByPart(ShiftByPart(static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b)) ^ static_cast<uint32_t>(c);
}

uint32_t Crc(uint32_t crc, const std::byte* data, int64_t size) {
  if (!__builtin_cpu_supports("sse4.2")) return CrcScalar(crc, data, size);
  for (; size >= 3 * kPart; size -= 3 * kPart, data += 3 * kPart) crc = CrcThreeWay(crc, data);
  return CrcHardware(crc, data, size);
}

#else

uint32_t Crc(uint32_t crc, const std::byte* data, int64_t size) { return CrcScalar(crc, data, size); }

#endif

}  // namespace

uint32_t Crc32c(const std::byte* data, int64_t size) { return ~Crc(0xFFFFFFFFu, data, size); }

}  // namespace planish
