#include "grpc/api_server.h"

#include <fcntl.h>
#include <grp.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_posix.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace gemel::daemon {
namespace {

constexpr int kMaxMessageBytes = 2 << 20;
constexpr int kMaxStreams = 1000;  // of one connection
constexpr int kMaxMetadataBytes = 16 << 10;
constexpr int kKeepaliveMs = 60'000;  // clients that vanished are noticed so
constexpr int kLeastPingMs = 1000;
constexpr int kBacklog = 128;

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    return InvalidArgument("run_dir: {}: {} bytes, a socket's path has at most {}", path,
                           path.size(), sizeof(address.sun_path) - 1);
  std::copy(path.begin(), path.end(), static_cast<char*>(address.sun_path));
  return address;
}

}  // namespace

Result<std::unique_ptr<ApiServer>> ApiServer::Start(const DaemonConfig& config,
                                                    const std::vector<grpc::Service*>& services,
                                                    EventLoop* loop, const std::vector<Port>& ports,
                                                    Interceptors interceptors) {
  std::unique_ptr<ApiServer> made(new ApiServer(loop, config.run_dir + "/api.sock"));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  // Other nodes look whether this one is there while a stream between them is quiet (forwarder.cc).
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kLeastPingMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  std::vector<int> bound(ports.size(), 0);
  for (std::size_t i = 0; i < ports.size(); ++i)
    builder.AddListeningPort(ports[i].listen, ports[i].credentials, &bound[i]);
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  for (grpc::Service* service : services) builder.RegisterService(service);
  made->server_ = builder.BuildAndStart();
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (bound[i] == 0)
      return FailedPrecondition("{}: {}: cannot listen there", ports[i].key, ports[i].listen);
    LOG_UNLIMITED(kInfo, "api", "TLS on port {} ({})", bound[i], ports[i].listen);
  }
  if (made->server_ == nullptr) return FailedPrecondition("gRPC's server does not start");
  RETURN_IF_ERROR(made->Listen(config));
  return made;
}

ApiServer::~ApiServer() {
  if (listener_) {
    loop_->Unwatch(listener_.get());
    static_cast<void>(unlink(path_.c_str()));
  }
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  server_->Wait();
}

Status ApiServer::Listen(const DaemonConfig& config) {
  ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path_));
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return ErrnoError(errno, "socket");
  // The lock on the run directory says that whoever made this one is gone.
  static_cast<void>(unlink(path_.c_str()));
  const mode_t before = umask(0177);
  // SAFETY: the kernel's address types are made to be cast so.
  const int bound =
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  umask(before);
  if (bound != 0) return ErrnoError(error, path_);
  if (!config.socket_group.empty()) {
    const group* found = getgrnam(config.socket_group.c_str());  // before other threads ask
    if (found == nullptr)
      return InvalidArgument("socket.group: {}: no such group", config.socket_group);
    if (chown(path_.c_str(), static_cast<uid_t>(-1), found->gr_gid) != 0)
      return ErrnoError(errno, path_);
  }
  if (chmod(path_.c_str(), config.socket_mode) != 0) return ErrnoError(errno, path_);
  if (listen(listener.get(), kBacklog) != 0) return ErrnoError(errno, path_);
  listener_ = std::move(listener);
  return loop_->Watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { Accept(); });
}

void ApiServer::Accept() {
  const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    if (errno != EAGAIN) LOG(kWarning, "api", "accept: {}", strerror(errno));
    return;
  }
  grpc::AddInsecureChannelFromFd(server_.get(), fd);  // which owns it from here on
}

}  // namespace gemel::daemon
