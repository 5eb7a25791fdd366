// All connections of one socket device, and the ways in: packets of the guest, callers on the
// host's listening socket, replies of whoever dials (dial.h), time. It knows no queue.
//
// What a guest or a caller can make us hold is bounded: connections, bytes a connection, callers
// that have not said where they want to go, RSTs that wait for a buffer of the guest.
//
// One thread: the loop's. Nothing waits, and nothing that a guest causes is logged.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "base/event_loop.h"
#include "base/permit.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "virtio/vsock/config_space.h"
#include "virtio/vsock/connection.h"
#include "virtio/vsock/host_stream.h"

namespace gemel::virtio {

// Connections, and streams of closed ones whose bytes the host has not taken yet, together.
inline constexpr std::size_t kMaxVsockConnections = 1024;

class VsockSwitchboard {
 public:
  class Client {
   public:
    virtual ~Client() = default;
    // There is a packet for the guest. Not called from within a member of the switchboard.
    virtual void OnVsockOutput() = 0;
  };

  struct Options {
    std::string name;  // for log lines: "vsock0"
    std::uint32_t guest_cid = 0;
    UniqueFd listener;  // a listening SOCK_STREAM socket; none: the host cannot connect
    UniqueFd dialer;    // dial.h; none: the guest cannot connect
    std::int64_t answer_timeout_ms = 10'000;  // for a guest to answer a REQUEST
    std::int64_t reset_timeout_ms = 8'000;    // for a guest to RST a connection that is at its end
    Permit* permit = nullptr;                 // virtio/worker.h
  };

  // `loop` and `client` outlive it.
  static Result<std::unique_ptr<VsockSwitchboard>> Create(Options options, EventLoop* loop,
                                                          Client* client);
  ~VsockSwitchboard();  // REQUIRES: not open, which is checked

  // The driver is ready: callers are let in. An error leaves it closed.
  Status Open();
  // The driver is gone: every connection ends. Callers wait in the listener's backlog.
  void Close();

  // ---- from the guest
  // False while too many RSTs wait for the guest to take them: packets that could cause more are to
  // stay where they are (5.10.6.1.1).
  bool HasRoomForPacket() const;
  // REQUIRES: the payload is in `chain` behind the header.
  void OnPacket(const VsockHeader& header, std::span<const iovec> chain);

  // ---- to the guest
  // True if MakePacket may have one.
  bool HasPacket() const { return !resets_.empty() || !ready_.empty(); }
  // Puts the next packet into `chain`, which has more room than a header takes. Returns its bytes;
  // 0 if there was none after all.
  std::uint32_t MakePacket(std::span<const iovec> chain);

  // For tests and bounds.
  std::size_t connections() const { return connections_.size(); }
  std::size_t lingering() const { return lingering_.size(); }
  std::size_t callers() const { return callers_.size(); }

 private:
  struct Entry {
    VsockConnection connection;
    bool ready = false;         // is in ready_
    std::uint32_t dial_id = 0;  // kDialing
    std::int64_t deadline = 0;  // MonotonicMs; 0: none
  };
  struct Dial {
    std::uint32_t id = 0;
    VsockKey key;
  };
  using Table = std::map<VsockKey, Entry>;

  VsockSwitchboard(Options options, EventLoop* loop, Client* client, UniqueFd timer)
      : options_(std::move(options)), loop_(loop), client_(client), timer_(std::move(timer)) {}

  // ---- the table
  bool MakeRoom();
  std::uint32_t ReserveBuffer();
  void Apply(Table::iterator at, VsockConnection::Next next);
  void Remove(Table::iterator at);
  void Linger(HostStream stream);
  void DropLingering(std::uint64_t number);
  void MarkReady(Entry& entry);
  Status WatchStream(const VsockKey& key, int fd);
  void PushReset(const VsockKey& key) { resets_.push_back(key); }
  void Address(VsockHeader& header, const VsockKey& key) const;
  void Report();

  // ---- guest to host
  void OnRequest(const VsockKey& key, const VsockHeader& header);
  void DialNext();
  void OnDialer();
  void OnDialed(VsockKey key, UniqueFd fd);
  void LoseDialer();

  // ---- host to guest
  void UpdateListener();
  void OnCallers();
  void AddCaller(UniqueFd fd);
  void OnCallerEvents(std::uint64_t number, std::uint32_t events);
  void Connect(UniqueFd fd, std::uint32_t guest_port);
  std::optional<VsockKey> FreeKey(std::uint32_t guest_port);

  // ---- time
  void SetDeadline(Entry& entry, std::int64_t ms);
  void ArmTimer(std::int64_t deadline);
  void OnTimer();

  Options options_;
  EventLoop* const loop_;
  Client* const client_;
  UniqueFd timer_;
  std::int64_t timer_deadline_ = 0;  // 0: not armed

  Table connections_;
  std::deque<VsockKey> ready_;                     // who has packets, in turn
  std::deque<VsockKey> resets_;                    // of connections that are not there
  std::size_t reserved_ = 0;                       // bytes of buffer promised to the guest
  std::map<std::uint64_t, HostStream> lingering_;  // oldest first
  std::map<std::uint64_t, UniqueFd> callers_;      // the same
  std::uint64_t next_number_ = 0;
  std::uint32_t next_host_port_ = 0;  // counted from the first of ours

  std::deque<Dial> dials_waiting_;
  std::map<std::uint32_t, VsockKey> dials_;  // that the dialer works on
  std::uint32_t next_dial_ = 0;

  bool open_ = false;
  bool listening_ = false;
  std::int64_t listen_again_ = 0;  // MonotonicMs: this process had no descriptor left
};

}  // namespace gemel::virtio
