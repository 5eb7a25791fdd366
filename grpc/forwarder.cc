#include "grpc/forwarder.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "grpc/access/forwarded.h"
#include "grpc/resource_name.h"

namespace gemel::daemon {
namespace {

constexpr int kConnectMs = 3000;
// A node that lost its power says nothing: its connection is over after this.
constexpr int kKeepaliveMs = 5000;
constexpr int kKeepaliveAnswerMs = 3000;
constexpr std::string_view kNodes = "nodes/";

Result<std::shared_ptr<grpc::Channel>> Connect(const std::string& address,
                                               const Forwarder::Files& files) {
  ASSIGN_OR_RETURN(std::string authority, ReadTextFile(files.authority));
  ASSIGN_OR_RETURN(std::string certificate, ReadTextFile(files.certificate));
  ASSIGN_OR_RETURN(std::string key, ReadTextFile(files.key));
  grpc::ChannelArguments arguments;
  // One that failed is not shared with who comes after it.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveAnswerMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials({authority, key, certificate}),
                                   arguments);
}

}  // namespace

bool IsForProcess(std::string_view method) {
  return method == "VirtualMachines/Shutdown" || method == "VirtualMachines/Reset" ||
         method == "VirtualMachines/Pause" || method == "VirtualMachines/Resume";
}

std::string Forwarder::NodeOf(const access::Caller& caller, std::string_view machine) const {
  if (!caller.via.empty()) return "";
  const auto vm = published_->vms.Get(machine);
  if (vm == nullptr || !vm->spec().has_failover() || !vm->status().node().starts_with(kNodes))
    return "";
  // Its last owner has nothing of it: what shall become of it any node may say.
  if (vm->status().state() == v1::VIRTUAL_MACHINE_STATE_FAILED) return "";
  std::string node(LastPart(vm->status().node()));
  const auto peer = node == node_ ? nullptr : published_->peers.Get(node);
  if (peer == nullptr || peer->address.empty()) return "";
  return node;
}

std::vector<std::string> Forwarder::Others(const access::Caller& caller) const {
  std::vector<std::string> nodes;
  if (!caller.via.empty()) return nodes;
  published_->peers.Visit("", "", [&](const std::string& node, const auto& peer) {
    if (!peer->address.empty()) nodes.push_back(node);
    return true;
  });
  return nodes;
}

std::unique_ptr<grpc::ClientContext> Forwarder::ContextFor(const grpc::CallbackServerContext& from,
                                                           const access::Caller& caller) {
  auto context = grpc::ClientContext::FromCallbackServerContext(from);
  context->AddMetadata(std::string(access::kForwardedKey), access::FormatForwarded(caller));
  return context;
}

ApiResult<std::shared_ptr<grpc::Channel>> Forwarder::ChannelTo(const std::string& node) {
  const auto peer = published_->peers.Get(node);
  if (peer == nullptr || peer->address.empty())
    return std::unexpected(
        MakeApiError(Code::kUnavailable, "NODE_UNREACHABLE",
                     fmt::format("node {} has it, and does not say where it can be asked", node)));
  const FileStamp stamp = StampOf(files_.certificate);
  const MutexLock lock(mutex_);
  Kept& kept = channels_[node];
  if (kept.channel != nullptr && kept.address == peer->address && kept.stamp == stamp)
    return kept.channel;
  auto channel = Connect(peer->address, files_);
  if (!channel)
    return std::unexpected(MakeApiError(Code::kUnavailable, "NODE_UNREACHABLE",
                                        fmt::format("node {} has it, and cannot be asked: {}", node,
                                                    Printable(channel.error().message))));
  kept = {peer->address, stamp, *channel};
  return kept.channel;
}

void Forwarder::WaitForStreams() {
  const std::future<void> ended = streams_->ended.get_future();
  streams_.reset();
  ended.wait();
}

ApiError Forwarder::Explain(const std::string& node, const grpc::Status& status) {
  ApiError error;
  const bool of_gemeld =
      !status.error_details().empty() && error.ParseFromString(status.error_details());
  // Whom it does not believe is this node, not the caller.
  if (of_gemeld && status.error_code() != grpc::StatusCode::UNAUTHENTICATED) return error;
  const bool away = status.error_code() == grpc::StatusCode::UNAVAILABLE;
  if (away || status.error_code() == grpc::StatusCode::UNAUTHENTICATED)
    return MakeApiError(Code::kUnavailable, "NODE_UNREACHABLE",
                        fmt::format("node {} has it, and {}: {}", node,
                                    away ? "cannot be asked" : "does not believe this node",
                                    Printable(status.error_message())));
  return MakeApiError(static_cast<Code>(status.error_code()), "NODE_FAILED",
                      fmt::format("node {}: {}", node, Printable(status.error_message())));
}

}  // namespace gemel::daemon
