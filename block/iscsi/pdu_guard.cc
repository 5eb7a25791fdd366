#include "block/iscsi/pdu_guard.h"

#include <algorithm>

#include "base/load_be.h"

namespace gemel::block {
namespace {

// RFC 7143, 11.1.1: what targets send.
enum class Opcode : std::uint8_t {
  kNopIn = 0x20,
  kScsiResponse = 0x21,
  kTaskManagementResponse = 0x22,
  kLoginResponse = 0x23,
  kTextResponse = 0x24,
  kDataIn = 0x25,
  kLogoutResponse = 0x26,
  kReadyToTransfer = 0x31,
  kAsync = 0x32,
  kReject = 0x3f,
};

constexpr std::uint32_t kNobody = 0xffffffff;  // a tag: answer nothing
// A NOP-Out of ours weighs at least its header and what libiscsi keeps beside it.
constexpr std::uint32_t kNopWeight = 1024;

}  // namespace

bool PduGuard::Feed(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (data_left_ > 0) {
      const std::size_t n = std::min(data_left_, bytes.size());
      data_left_ -= n;
      bytes = bytes.subspan(n);
      continue;
    }
    const std::size_t n = std::min(kPduHeaderBytes - header_bytes_, bytes.size());
    std::copy_n(bytes.begin(), n, header_.begin() + static_cast<std::ptrdiff_t>(header_bytes_));
    header_bytes_ += n;
    bytes = bytes.subspan(n);
    if (header_bytes_ < kPduHeaderBytes) continue;
    header_bytes_ = 0;
    if (!CheckHeader()) return false;
  }
  return true;
}

bool PduGuard::Skip(std::size_t count) {
  if (count > data_left_) return false;
  data_left_ -= count;
  return true;
}

bool PduGuard::CheckHeader() {
  const std::uint32_t lengths = LoadBe32(header_, 4);
  const std::uint32_t data = lengths & 0xffffff;
  if (lengths >> 24 != 0)
    return false;  // additional header segments: we offer nothing that has any
  if (data > kMaxSegmentBytes) return false;
  data_left_ = (std::size_t{data} + 3) & ~std::size_t{3};
  switch (static_cast<Opcode>(static_cast<std::uint8_t>(header_[0]) & 0x3f)) {
    case Opcode::kScsiResponse:
    case Opcode::kTaskManagementResponse:
    case Opcode::kLoginResponse:
    case Opcode::kTextResponse:
    case Opcode::kLogoutResponse:
    case Opcode::kReject:
      return true;
    case Opcode::kDataIn:
      return data > 0 || (static_cast<std::uint8_t>(header_[1]) & 1) != 0;  // 11.7.1: the S bit
    case Opcode::kNopIn:
      return LoadBe32(header_, 20) == kNobody || Owe(kNopWeight + data);
    case Opcode::kReadyToTransfer: {
      const std::uint32_t wanted = LoadBe32(header_, 44);
      return data == 0 && wanted > 0 && wanted <= kMaxBurstBytes && Owe(wanted);
    }
    case Opcode::kAsync:
      // Requests to log out would make libiscsi reconnect by itself; a new session does as well.
      return static_cast<std::uint8_t>(header_[36]) == 0;
  }
  return false;
}

bool PduGuard::Owe(std::uint32_t bytes) {
  if (kMaxOwedBytes - owed_ < bytes) return false;
  owed_ += bytes;
  return true;
}

}  // namespace gemel::block
