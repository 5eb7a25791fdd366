#include "keeper/server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace gemel::keeper {
namespace {

constexpr std::size_t kMostClients = 8;
constexpr int kMostPerTurn = 16;  // messages of one client, before others have their turn

Result<UniqueFd> Listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return InvalidArgument("socket {}: longer than {} bytes", path, sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoError(errno, "socket");
  unlink(path.c_str());
  const mode_t mask = umask(0177);
  // SAFETY: bind() takes every family's address as a sockaddr, and reads as many bytes as are said.
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(mask);
  if (bound != 0) return ErrnoError(error, path);
  if (listen(fd.get(), kMostClients) != 0) return ErrnoError(errno, path);
  return fd;
}

bool IsTrusted(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Create(EventLoop* loop, const std::string& path,
                                               Owner owner) {
  ASSIGN_OR_RETURN(UniqueFd listener, Listen(path));
  std::unique_ptr<Server> server(new Server(loop, std::move(listener), std::move(owner)));
  RETURN_IF_ERROR(loop->Watch(server->listener_.get(), EPOLLIN,
                              [raw = server.get()](std::uint32_t) { raw->Accept(); }));
  return server;
}

Server::~Server() {
  loop_->Unwatch(listener_.get());
  for (const Client& client : clients_) loop_->Unwatch(client.channel.fd());
}

void Server::Tell() {
  for (auto client = clients_.begin(); client != clients_.end();) {
    const auto current = client++;
    if (!Say(*current)) Drop(current);
  }
}

void Server::Accept() {
  UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return;
  if (!IsTrusted(fd.get()) || clients_.size() >= kMostClients) {
    LOG(kWarning, "keeper", "a connection was refused: {}",
        clients_.size() >= kMostClients ? "there are too many" : "of another user");
    return;
  }
  Result<ControlChannel> channel = ControlChannel::Adopt(std::move(fd));
  if (!channel) return;
  const auto client = clients_.insert(clients_.end(), {std::move(*channel)});
  const Status watched =
      loop_->Watch(client->channel.fd(), EPOLLIN, [this, client](std::uint32_t) { Serve(client); });
  if (!watched || !Say(*client)) Drop(client);
}

void Server::Serve(Clients::iterator client) {
  // A statement can make us Tell(), which may drop this very client.
  for (int turn = 0; turn < kMostPerTurn; ++turn) {
    Result<Received> received = client->channel.Receive();
    if (received && received->state == Received::State::kNothing) return;
    Result<Statement> statement = MakeError(Code::kCancelled, "the end");
    if (!received) {
      statement = std::unexpected(received.error());
    } else if (received->state == Received::State::kMessage) {
      statement = DecodeStatement(received->message);
    }
    if (!statement) {
      if (statement.error().code != Code::kCancelled)
        LOG(kWarning, "keeper", "a connection was closed: {}", statement.error().message);
      return Drop(client);
    }
    const int fd = client->channel.fd();
    owner_.on_statement(*statement);
    bool still_there = false;
    for (const Client& known : clients_) still_there |= known.channel.fd() == fd;
    if (!still_there) return;
  }
}

bool Server::Say(Client& client) {
  const Status sent = client.channel.Send(EncodeView(owner_.view()));
  if (!sent) LOG(kWarning, "keeper", "a connection was closed: {}", sent.error().message);
  return sent.has_value();
}

void Server::Drop(Clients::iterator client) {
  loop_->Unwatch(client->channel.fd());
  clients_.erase(client);
}

}  // namespace gemel::keeper
