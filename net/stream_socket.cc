#include "net/stream_socket.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace gemel::net {
namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kLargest = kLengthBytes + kMaxFrameBytes;

std::array<std::byte, kLengthBytes> ToBig32(std::size_t value) {
  return {static_cast<std::byte>(value >> 24), static_cast<std::byte>(value >> 16),
          static_cast<std::byte>(value >> 8), static_cast<std::byte>(value)};
}

// What is watched is an epoll instance with the one socket in it that matters now: a client, or the
// listener that waits for one.
class StreamSocket final : public NetBackend {
 public:
  StreamSocket(UniqueFd epoll, UniqueFd listener, UniqueFd client)
      : epoll_(std::move(epoll)), listener_(std::move(listener)), client_(std::move(client)) {}
  Status Begin() { return Add(connected() ? client_.get() : listener_.get()); }

  std::string_view engine() const override { return "stream"; }
  Offloads offloads() const override { return 0; }
  Status SetReceiveOffloads(Offloads) override { return {}; }
  Status SetActive(bool) override { return {}; }
  void SetLink(bool) override {}
  int fd() const override { return epoll_.get(); }
  std::uint32_t Interest(bool receive, bool transmit) override;
  bool connected() const override { return static_cast<bool>(client_); }
  bool unsent() const override { return rest_sent_ < rest_.size(); }
  std::expected<std::size_t, NetError> Receive(std::span<const iovec> into) override;
  std::size_t Transmit(std::span<const NetFrame> frames, std::size_t& failed) override;

 private:
  Status Add(int fd);
  void Accept();
  void HangUp();
  bool FlushRest();
  bool SendOne(const NetFrame& frame);
  std::size_t BufferedFrame();

  const UniqueFd epoll_;
  const UniqueFd listener_;  // or none
  UniqueFd client_;
  std::uint32_t interest_ = EPOLLIN;
  // What has been read and not yet been received: at least one whole frame has room.
  std::vector<std::byte> in_ = std::vector<std::byte>(2 * kLargest);
  std::size_t begin_ = 0, end_ = 0;
  // The end of a frame that found no room. Its capacity is there from the start.
  std::vector<std::byte> rest_;
  std::size_t rest_sent_ = 0;
  std::array<iovec, kMaxPieces> pieces_;
};

Status StreamSocket::Add(int fd) {
  rest_.reserve(kLargest);
  epoll_event event{.events = interest_, .data = {.fd = fd}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return ErrnoError(errno, "socket: epoll_ctl");
}

std::uint32_t StreamSocket::Interest(bool receive, bool transmit) {
  const std::uint32_t wanted = (receive ? EPOLLIN : 0u) | (transmit ? EPOLLOUT : 0u);
  if (wanted != interest_) {
    interest_ = wanted;
    const int fd = connected() ? client_.get() : listener_.get();
    epoll_event event{.events = connected() ? wanted : EPOLLIN, .data = {.fd = fd}};
    static_cast<void>(epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event));
  }
  return wanted != 0 ? EPOLLIN : 0u;
}

void StreamSocket::Accept() {
  UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client) return;
  if (!Add(client.get())) return;
  static_cast<void>(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr));
  client_ = std::move(client);
}

void StreamSocket::HangUp() {
  client_.Reset();  // and so out of the epoll instance
  begin_ = end_ = 0;
  rest_.clear();
  rest_sent_ = 0;
  interest_ = EPOLLIN;
  if (listener_) static_cast<void>(Add(listener_.get()));
}

// Bytes of the first frame in the buffer if all of it is there, else 0.
std::size_t StreamSocket::BufferedFrame() {
  if (end_ - begin_ < kLengthBytes) return 0;
  std::size_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    length = length << 8 | std::to_integer<std::size_t>(in_[begin_ + i]);
  if (length == 0 || length > kMaxFrameBytes) {
    HangUp();
    return 0;
  }
  return end_ - begin_ - kLengthBytes >= length ? length : 0;
}

std::expected<std::size_t, NetError> StreamSocket::Receive(std::span<const iovec> into) {
  if (!connected() && listener_) Accept();
  if (!connected()) return std::unexpected(listener_ ? NetError::kWouldBlock : NetError::kClosed);
  std::size_t length = BufferedFrame();
  if (length == 0 && connected()) {
    std::copy(in_.begin() + static_cast<std::ptrdiff_t>(begin_),
              in_.begin() + static_cast<std::ptrdiff_t>(end_), in_.begin());
    end_ -= std::exchange(begin_, 0);
    const ssize_t n = recv(client_.get(), in_.data() + end_, in_.size() - end_, MSG_DONTWAIT);
    if (n > 0) {
      end_ += static_cast<std::size_t>(n);
      length = BufferedFrame();
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      HangUp();
    }
  }
  if (length == 0) {
    const bool over = !connected() && !listener_;
    return std::unexpected(over ? NetError::kClosed : NetError::kWouldBlock);
  }
  const std::byte* from = in_.data() + begin_ + kLengthBytes;
  std::size_t left = length;
  for (const iovec& piece : into.subspan(1)) {
    const std::size_t n = std::min(left, piece.iov_len);
    std::memcpy(piece.iov_base, from, n);
    from += n;
    left -= n;
    if (left == 0) break;
  }
  begin_ += kLengthBytes + length;
  std::memset(into[0].iov_base, 0, kHeaderBytes);
  return length;
}

// False: still no room.
bool StreamSocket::FlushRest() {
  while (unsent()) {
    const ssize_t n = send(client_.get(), rest_.data() + rest_sent_, rest_.size() - rest_sent_,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return errno != EAGAIN && errno != EINTR;  // Receive finds out what is wrong
    rest_sent_ += static_cast<std::size_t>(n);
  }
  return true;
}

// False: no room, and nothing of it was sent.
bool StreamSocket::SendOne(const NetFrame& frame) {
  std::size_t bytes = 0;
  std::copy(frame.iov.begin(), frame.iov.end(), pieces_.begin());
  for (const iovec& piece : frame.iov.subspan(1)) bytes += piece.iov_len;
  std::array<std::byte, kLengthBytes> length = ToBig32(bytes);
  pieces_[0] = {length.data(), length.size()};  // in the header's place
  msghdr message{};
  message.msg_iov = pieces_.data();
  message.msg_iovlen = frame.iov.size();
  const ssize_t n = sendmsg(client_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0) return errno != EAGAIN && errno != EINTR;
  auto sent = static_cast<std::size_t>(n);
  if (sent == bytes + kLengthBytes) return true;
  rest_.clear();
  rest_sent_ = 0;
  for (const iovec& piece : std::span(pieces_).first(frame.iov.size())) {
    const std::size_t skip = std::min(sent, piece.iov_len);
    const auto* at = static_cast<const std::byte*>(piece.iov_base);
    rest_.insert(rest_.end(), at + skip, at + piece.iov_len);
    sent -= skip;
  }
  return true;
}

std::size_t StreamSocket::Transmit(std::span<const NetFrame> frames, std::size_t& failed) {
  if (!connected()) {
    failed += frames.size();
    return frames.size();
  }
  std::size_t done = 0;
  while (FlushRest() && done < frames.size()) {
    if (!SendOne(frames[done])) break;
    ++done;
  }
  return done;
}

}  // namespace

Result<std::unique_ptr<NetBackend>> AdoptStreamSocket(UniqueFd fd, bool listening) {
  const int old = fcntl(fd.get(), F_GETFL);
  if (old < 0 || fcntl(fd.get(), F_SETFL, old | O_NONBLOCK) != 0)
    return ErrnoError(errno, "socket: F_SETFL");
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return ErrnoError(errno, "socket: epoll_create1");
  auto stream = listening
                    ? std::make_unique<StreamSocket>(std::move(epoll), std::move(fd), UniqueFd())
                    : std::make_unique<StreamSocket>(std::move(epoll), UniqueFd(), std::move(fd));
  RETURN_IF_ERROR(stream->Begin());
  return stream;
}

}  // namespace gemel::net
