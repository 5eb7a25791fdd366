#include "grpc/keeper_link.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kRetryMs = 200;

Result<ControlChannel> ConnectTo(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return InvalidArgument("socket {}: longer than {} bytes", path, sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoError(errno, "socket");
  // SAFETY: connect() takes every family's address as a sockaddr, and reads as many bytes as are said.
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return ErrnoError(errno, path);
  return ControlChannel::Adopt(std::move(fd));
}

}  // namespace

KeeperSocket::KeeperSocket(EventLoop* loop, std::string path, std::function<void()> on_change)
    : loop_(loop), path_(std::move(path)), on_change_(std::move(on_change)) {
  Connect();
}

KeeperSocket::~KeeperSocket() {
  if (channel_) loop_->Unwatch(channel_->fd());
}

Result<UniqueFd> KeeperSocket::OpenPage() const {
  if (!page_fd_) return FailedPrecondition("this node has no session");
  UniqueFd fd(fcntl(page_fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) return ErrnoError(errno, "deadline page");
  return fd;
}

void KeeperSocket::Say(const keeper::Statement& statement) {
  if (!channel_) return;
  const Status sent = channel_->Send(keeper::EncodeStatement(statement));
  if (!sent) Drop(sent.error().message);
}

void KeeperSocket::Connect() {
  Result<ControlChannel> channel = ConnectTo(path_);
  if (channel) {
    channel_.emplace(std::move(*channel));
    const Status watched = loop_->Watch(channel_->fd(), EPOLLIN, [this](std::uint32_t) { Read(); });
    if (watched) return;
    channel_.reset();
  }
  static_cast<void>(retry_.Start(loop_, kRetryMs, [this] { Connect(); }));
}

void KeeperSocket::Read() {
  while (channel_) {
    Result<Received> received = channel_->Receive();
    if (!received) return Drop(received.error().message);
    if (received->state == Received::State::kNothing) return;
    if (received->state == Received::State::kClosed) return Drop("it has ended");
    Result<keeper::ViewMessage> message = keeper::DecodeView(std::move(received->message));
    if (!message) return Drop(message.error().message);
    Take(std::move(*message));
  }
}

void KeeperSocket::Take(keeper::ViewMessage message) {
  view_ = std::move(message.view);
  page_fd_ = std::move(message.page);
  page_ = {};
  if (page_fd_) {
    Result<cluster::PageReader> page = cluster::PageReader::Map(page_fd_);
    if (!page) return Drop(page.error().message);
    page_ = std::move(*page);
  }
  on_change_();
}

// The page that it gave us is as good as before: it passes by itself.
void KeeperSocket::Drop(const std::string& why) {
  LOG(kWarning, "cluster", "gemel-keeper: {}", why);
  loop_->Unwatch(channel_->fd());
  channel_.reset();
  static_cast<void>(retry_.Start(loop_, kRetryMs, [this] { Connect(); }));
}

}  // namespace gemel::daemon
