// Copies between our memory and a guest's buffers.
#include <algorithm>

#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {
namespace {

// Volatile, so that each guest byte is read or written exactly once, in words of any alignment.
void CopyOnce(std::byte* to, const std::byte* from, std::size_t n) {
  using Word [[gnu::may_alias, gnu::aligned(1)]] = std::uint64_t;
  for (; n >= sizeof(Word); n -= sizeof(Word), to += sizeof(Word), from += sizeof(Word)) {
    // SAFETY: n bytes are left on both sides; the type may alias and needs no alignment.
    *reinterpret_cast<volatile Word*>(to) = *reinterpret_cast<const volatile Word*>(from);
  }
  volatile std::byte* to_byte = to;
  const volatile std::byte* from_byte = from;
  for (; n > 0; --n) *to_byte++ = *from_byte++;
}

// Calls copy(place in the buffers, bytes done so far, n) for up to `wanted` bytes after `skip`.
template <class Copy>
std::size_t Walk(std::span<const iovec> iov, std::size_t skip, std::size_t wanted, Copy copy) {
  std::size_t done = 0;
  for (const iovec& segment : iov) {
    if (done == wanted) break;
    if (skip >= segment.iov_len) {
      skip -= segment.iov_len;
      continue;
    }
    const std::size_t n = std::min(segment.iov_len - skip, wanted - done);
    copy(static_cast<std::byte*>(segment.iov_base) + skip, done, n);
    done += n;
    skip = 0;
  }
  return done;
}

}  // namespace

std::size_t CopyFromIov(std::span<const iovec> from, std::size_t skip, std::span<std::byte> out) {
  return Walk(from, skip, out.size(), [&](std::byte* guest, std::size_t done, std::size_t n) {
    CopyOnce(out.data() + done, guest, n);
  });
}

std::size_t CopyToIov(std::span<const iovec> to, std::size_t skip, std::span<const std::byte> in) {
  return Walk(to, skip, in.size(), [&](std::byte* guest, std::size_t done, std::size_t n) {
    CopyOnce(guest, in.data() + done, n);
  });
}

std::size_t CutIov(std::span<const iovec> iov, std::size_t skip, std::size_t length,
                   std::span<iovec> out) {
  std::size_t used = 0;
  for (const iovec& segment : iov) {
    if (length == 0 || used == out.size()) break;
    if (skip >= segment.iov_len) {
      skip -= segment.iov_len;
      continue;
    }
    const std::size_t n = std::min(segment.iov_len - skip, length);
    out[used++] = iovec{static_cast<std::byte*>(segment.iov_base) + skip, n};
    length -= n;
    skip = 0;
  }
  return used;
}

std::uint64_t IovLength(std::span<const iovec> iov) {
  std::uint64_t total = 0;
  for (const iovec& segment : iov) total += segment.iov_len;
  return total;
}

}  // namespace gemel::virtio
