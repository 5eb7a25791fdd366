// The gRPC server: all services, reflection and health, on <run_dir>/api.sock and, if told so, on TCP
// with TLS. Connections of the socket are accepted here and handed to gRPC, so that the kernel can
// vouch for who they are (LocalIdentity).
#pragma once
#include <grpcpp/server.h>
#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "grpc/daemon_config.h"

namespace grpc {
class Service;
class ServerCredentials;
}  // namespace grpc

namespace gemel::daemon {

class ApiServer {
 public:
  using Interceptors =
      std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>;

  // A port of TCP.
  struct Port {
    std::string key;     // what asks for it: "tls.listen"
    std::string listen;  // ADDRESS:PORT
    std::shared_ptr<grpc::ServerCredentials> credentials;
  };

  // `services` and `loop` outlive it; `loop` is run by the caller and accepts. `interceptors` see every
  // call. An error names the key.
  static Result<std::unique_ptr<ApiServer>> Start(const DaemonConfig& config,
                                                  const std::vector<grpc::Service*>& services,
                                                  EventLoop* loop, const std::vector<Port>& ports,
                                                  Interceptors interceptors = {});
  // Ends streams and calls, the latter after a second's grace. Not on a thread that calls need.
  ~ApiServer();

 private:
  ApiServer(EventLoop* loop, std::string path) : loop_(loop), path_(std::move(path)) {}
  Status Listen(const DaemonConfig& config);
  void Accept();

  EventLoop* const loop_;
  const std::string path_;
  UniqueFd listener_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace gemel::daemon
