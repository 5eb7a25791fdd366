// One stream between a program in the guest and one on the host (virtio 1.2, section 5.10.6.6): what
// each packet does to it and which packets it has for the guest. It knows no queue and no table.
//
//   guest: REQUEST ─▶ kDialing ── the host's socket is there ──▶ kOpen (RESPONSE)
//   host:  CONNECT ─▶ kRequesting (REQUEST) ── RESPONSE ───────▶ kOpen ("OK …")
//
// One thread.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <span>

#include "virtio/vsock/config_space.h"
#include "virtio/vsock/credit.h"
#include "virtio/vsock/host_stream.h"

namespace gemel::virtio {

struct VsockKey {
  std::uint32_t host_port = 0;
  std::uint32_t guest_port = 0;
  friend auto operator<=>(const VsockKey&, const VsockKey&) = default;
};

// No packet of ours carries more; Linux makes its buffers smaller than this, and reads them whole.
inline constexpr std::uint32_t kMaxVsockPayload = 64u << 10;

class VsockConnection {
 public:
  enum class State : std::uint8_t { kDialing, kRequesting, kOpen };
  // What is to become of it after a packet.
  enum class Next : std::uint8_t {
    kGoOn,
    kReset,   // RST, and all that is under way is lost
    kFinish,  // RST, but what the guest sent still reaches the host
    kForget,  // as kFinish, without RST
  };

  // The guest has asked; OnDialed follows.
  VsockConnection(VsockKey key, const VsockHeader& request, std::uint32_t buffer_size);
  // The host has asked: a REQUEST is due.
  VsockConnection(VsockKey key, UniqueFd fd, std::uint32_t buffer_size);

  const VsockKey& key() const { return key_; }
  State state() const { return state_; }
  std::uint32_t buffer_size() const { return credit_.buffer_size(); }
  // None while dialing.
  HostStream* stream() { return stream_ ? &*stream_ : nullptr; }
  std::optional<HostStream> TakeStream() && { return std::move(stream_); }

  // A packet from the guest; its payload lies in `chain` behind the header. REQUIRES: type and
  // addresses are this connection's, and the payload is there.
  Next OnPacket(const VsockHeader& header, std::span<const iovec> chain);
  void OnDialed(UniqueFd fd);
  Next OnHostEvents(std::uint32_t events);

  bool HasPacket() const;
  // Fills the header, but for addresses, and puts the payload into `chain` behind the room for it.
  // False if there is nothing after all. REQUIRES: `chain` has more room than a header takes.
  bool MakePacket(VsockHeader& header, std::span<const iovec> chain);
  // The guest knows that nothing more will go either way: its RST is due.
  bool told_all() const { return told_ == kVsockNoMore; }

 private:
  Next OnOpenPacket(const VsockHeader& header, std::span<const iovec> chain);
  Next OnData(const VsockHeader& header, std::span<const iovec> chain);
  Next OnShutdown(std::uint32_t flags);
  // Flags of kShutdown as they are by now.
  std::uint32_t ShutdownFlags() const;
  bool CanRead() const;
  std::uint32_t ReadInto(std::span<const iovec> chain);

  const VsockKey key_;
  State state_;
  VsockCredit credit_;
  std::optional<HostStream> stream_;
  bool open_packet_due_ = false;   // REQUEST or RESPONSE
  bool credit_asked_ = false;      // by a CREDIT_REQUEST
  std::uint32_t told_ = 0;         // flags of kShutdown that the guest was sent
  std::uint32_t guest_flags_ = 0;  // and those it sent
};

}  // namespace gemel::virtio
