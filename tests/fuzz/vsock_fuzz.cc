// A guest, callers on the host, and whoever dials, all of which mostly keep to the rules and now and
// then do not: the real switchboard with real sockets on a loop that is turned by hand.
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "virtio/vsock/dial.h"
#include "virtio/vsock/greeting.h"
#include "virtio/vsock/packet.h"
#include "virtio/vsock/switchboard.h"

namespace gemel::virtio {
namespace {

constexpr std::uint32_t kCid = 3;
constexpr std::size_t kMostHosts = 16;

UniqueFd MakeListener(sockaddr_un& address, socklen_t& length) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un any{};
  any.sun_family = AF_UNIX;
  // SAFETY: sockaddr_un is a sockaddr by the sockets interface.
  CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any.sun_family) == 0);
  CHECK(listen(fd.get(), 128) == 0);
  length = sizeof address;
  CHECK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return fd;
}

class Fuzzer : private VsockSwitchboard::Client {
 public:
  explicit Fuzzer(FuzzedDataProvider& data) : data_(data) {
    auto loop = EventLoop::Create();
    CHECK(loop.has_value());
    loop_ = *std::move(loop);
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    dialer_.Reset(ends[0]);
    auto board = VsockSwitchboard::Create({.name = "vsock0",
                                           .guest_cid = kCid,
                                           .listener = MakeListener(address_, length_),
                                           .dialer = UniqueFd(ends[1]),
                                           .answer_timeout_ms = Rarely() ? 0 : 10'000,
                                           .reset_timeout_ms = Rarely() ? 0 : 10'000},
                                          loop_.get(), this);
    CHECK(board.has_value());
    board_ = *std::move(board);
    CHECK(board_->Open().has_value());
  }
  ~Fuzzer() override { board_->Close(); }

  void Run() {
    for (int i = 0; i < 200 && data_.remaining_bytes() > 0; ++i) {
      Step();
      loop_->RunOnce(0);
      CHECK(board_->connections() + board_->lingering() <= kMaxVsockConnections);
    }
    while (board_->HasPacket()) Receive(4096);
  }

 private:
  bool Rarely() { return data_.ConsumeIntegralInRange(0, 15) == 15; }
  void OnVsockOutput() override {}

  void Step() {
    switch (data_.ConsumeIntegralInRange(0, 7)) {
      case 0:
      case 1:
        return GuestSends();
      case 2:
        return Receive(Rarely() ? data_.ConsumeIntegralInRange<std::size_t>(1, 100'000) : 4096);
      case 3:
        return Call();
      case 4:
        return HostActs();
      case 5:
      case 6:
        return AnswerDial();
      default:
        if (!Rarely()) return GuestSends();
        board_->Close();
        CHECK(!board_->HasPacket() && board_->connections() == 0 && board_->lingering() == 0);
        CHECK(board_->Open().has_value());
    }
  }

  // What we were told of, or a few ports that come again and again.
  std::uint32_t Port() {
    if (Rarely()) return data_.ConsumeIntegral<std::uint32_t>();
    return data_.ConsumeIntegralInRange<std::uint32_t>(1, 3);
  }
  std::uint32_t Count() {
    return Rarely() ? data_.ConsumeIntegral<std::uint32_t>()
                    : data_.ConsumeIntegralInRange<std::uint32_t>(0, 100'000);
  }

  void GuestSends() {
    if (!board_->HasRoomForPacket()) return Receive(4096);
    VsockHeader header;
    header.source_cid = Rarely() ? data_.ConsumeIntegral<std::uint64_t>() : kCid;
    header.target_cid = Rarely() ? data_.ConsumeIntegral<std::uint64_t>() : kVsockHostCid;
    header.source_port = Port();
    header.target_port = data_.ConsumeBool() ? seen_port_ : Port();
    header.op = Rarely() ? data_.ConsumeIntegral<std::uint16_t>()
                         : data_.ConsumeIntegralInRange<std::uint16_t>(1, 7);
    if (Rarely()) header.type = data_.ConsumeIntegral<std::uint16_t>();
    header.flags = data_.ConsumeIntegralInRange<std::uint32_t>(0, 3);
    header.buffer_size = Count();
    header.forwarded_count = Count();
    const std::size_t payload = header.op == static_cast<std::uint16_t>(VsockOp::kData)
                                    ? data_.ConsumeIntegralInRange<std::size_t>(0, 70'000)
                                    : 0;
    header.length = Rarely() ? Count() : static_cast<std::uint32_t>(payload);
    std::vector<std::byte> bytes(sizeof header + payload);
    std::memcpy(bytes.data(), &header, sizeof header);
    if (Rarely()) bytes.resize(data_.ConsumeIntegralInRange<std::size_t>(0, bytes.size()));
    const std::size_t cut = data_.ConsumeIntegralInRange<std::size_t>(0, bytes.size());
    const std::array<iovec, 2> iov{iovec{bytes.data(), cut},
                                   iovec{bytes.data() + cut, bytes.size() - cut}};
    if (const auto parsed = ParseVsockPacket(iov)) board_->OnPacket(*parsed, iov);
  }

  void Receive(std::size_t room) {
    std::vector<std::byte> buffer(sizeof(VsockHeader) + room);
    const iovec iov{buffer.data(), buffer.size()};
    const std::uint32_t written = board_->MakePacket({&iov, 1});
    if (written == 0) return;
    CHECK(written <= buffer.size());
    VsockHeader header;
    std::memcpy(&header, buffer.data(), sizeof header);
    CHECK(header.length == written - sizeof header);
    seen_port_ = header.source_port;
  }

  void Keep(UniqueFd fd) {
    if (hosts_.size() < kMostHosts) hosts_.push_back(std::move(fd));
  }

  void Call() {
    UniqueFd caller(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    // SAFETY: as above.
    if (connect(caller.get(), reinterpret_cast<const sockaddr*>(&address_), length_) != 0) return;
    std::string greeting = "CONNECT " + std::to_string(Port()) + "\n";
    if (Rarely()) greeting = data_.ConsumeRandomLengthString(40);
    const VsockGreeting parsed =
        ParseVsockGreeting(std::string_view(greeting).substr(0, kMaxGreeting));
    CHECK(parsed.length <= greeting.size());
    send(caller.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
    Keep(std::move(caller));
  }

  void HostActs() {
    if (hosts_.empty()) return;
    const auto at = data_.ConsumeIntegralInRange<std::size_t>(0, hosts_.size() - 1);
    const int fd = hosts_[at].get();
    std::vector<char> bytes(data_.ConsumeIntegralInRange<std::size_t>(1, 70'000));
    switch (data_.ConsumeIntegralInRange(0, 3)) {
      case 0:
        send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
      case 1:
        [[maybe_unused]] const ssize_t n = recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
        return;
    }
    if (data_.ConsumeBool()) {
      shutdown(fd, data_.ConsumeIntegralInRange(0, 2));
    } else {
      hosts_.erase(hosts_.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }

  void AnswerDial() {
    VsockDialRequest request;
    if (ReceiveDialRequest(dialer_.get(), request) != VsockDialState::kDone) return;
    if (Rarely()) request.id = data_.ConsumeIntegral<std::uint32_t>();
    if (Rarely()) {
      SendDialReply(dialer_.get(), {request.id, data_.ConsumeIntegral<int>(), UniqueFd()});
      return;
    }
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    Keep(UniqueFd(ends[0]));
    SendDialReply(dialer_.get(), {request.id, 0, UniqueFd(ends[1])});
  }

  FuzzedDataProvider& data_;
  sockaddr_un address_{};
  socklen_t length_ = 0;
  std::unique_ptr<EventLoop> loop_;
  UniqueFd dialer_;
  std::vector<UniqueFd> hosts_;
  std::uint32_t seen_port_ = 1;
  std::unique_ptr<VsockSwitchboard> board_;
};

}  // namespace
}  // namespace gemel::virtio

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  gemel::SetLogLevel(gemel::LogLevel::kError);
  FuzzedDataProvider data(bytes, size);
  gemel::virtio::Fuzzer(data).Run();
  return 0;
}
