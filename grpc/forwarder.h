// Calls that another node of the cluster must answer, since it has the machine's process or the record: who
// is asked, over which channel, and what becomes of the answer. One hop: what came from a node is never
// passed on again. Any thread.
#pragma once
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server_context.h>

#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_util.h"
#include "base/mutex.h"
#include "grpc/access/caller.h"
#include "grpc/api_error.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {

class Forwarder {
 public:
  // PEM files: the cluster's authority, and this node's certificate and key (member/credentials.h).
  struct Files {
    std::string authority;
    std::string certificate;
    std::string key;
  };

  // `published` outlives it.
  Forwarder(std::string node, const Published* published, Files files)
      : node_(std::move(node)), published_(published), files_(std::move(files)) {}

  // The other node that has the process of this machine, and can be asked. Empty: answer here.
  std::string NodeOf(const access::Caller& caller, std::string_view machine) const;
  // All other nodes; none for a call that came from one.
  std::vector<std::string> Others(const access::Caller& caller) const;

  // For a call to `node` in the caller's name. Its deadline and its end are those of `from`.
  static std::unique_ptr<grpc::ClientContext> ContextFor(const grpc::CallbackServerContext& from,
                                                         const access::Caller& caller);
  // kUnavailable names the node. New certificates and addresses make new channels.
  ApiResult<std::shared_ptr<grpc::Channel>> ChannelTo(const std::string& node) EXCLUDES(mutex_);
  // For whoever has a stream to another node, as long as gRPC may call it back.
  std::shared_ptr<const void> streams() const { return streams_; }
  // Returns when there is none. Once, and no more are begun.
  void WaitForStreams();
  // What a caller is told of an answer that is none.
  static ApiError Explain(const std::string& node, const grpc::Status& status);

  template <class Response>
  using Done = std::function<void(ApiResult<Response>)>;

  // Asks `node`, and calls `done` once, on any thread, before `limit` is over. `method`:
  // "VirtualMachines/Reset".
  template <class Response, class Request>
  void Ask(const std::string& node, std::string_view method, const access::Caller& caller,
           const grpc::CallbackServerContext& from, const Request& request, Done<Response> done,
           std::optional<std::chrono::milliseconds> limit = {}) {
    struct Call {
      std::unique_ptr<grpc::ClientContext> context;
      Request request;
      Response response;
    };
    auto channel = ChannelTo(node);
    if (!channel) return done(std::unexpected(std::move(channel).error()));
    auto call = std::make_shared<Call>();
    call->context = ContextFor(from, caller);
    if (limit) call->context->set_deadline(std::chrono::system_clock::now() + *limit);
    call->request = request;
    grpc::TemplatedGenericStub<Request, Response> stub(*channel);
    stub.UnaryCall(call->context.get(), fmt::format("/gemel.v1.{}", method), {}, &call->request,
                   &call->response,
                   [call, node, done = std::move(done)](const grpc::Status& status) {
                     if (status.ok()) return done(std::move(call->response));
                     done(std::unexpected(Explain(node, status)));
                   });
  }

  // Asks one after the other until one knows of it. If none does: kUnavailable if one of them could not be
  // asked, else kNotFound.
  template <class Response, class Request>
  void AskUntilKnown(std::vector<std::string> nodes, std::string_view method,
                     const access::Caller& caller, const grpc::CallbackServerContext& from,
                     const Request& request, Done<Response> done, ApiError last = {}) {
    if (nodes.empty()) {
      if (last.code() == 0) last.set_code(static_cast<int>(Code::kNotFound));
      return done(std::unexpected(std::move(last)));
    }
    const std::string node = nodes.back();
    nodes.pop_back();
    Ask<Response>(node, method, caller, from, request,
                  [=, this, &from, method = std::string(method),
                   done = std::move(done)](ApiResult<Response> result) {
                    const int code = result ? 0 : result.error().code();
                    const bool away = code == static_cast<int>(Code::kUnavailable);
                    if (!away && code != static_cast<int>(Code::kNotFound))
                      return done(std::move(result));
                    AskUntilKnown<Response>(nodes, method, caller, from, request, done,
                                            away ? result.error() : last);
                  });
  }

 private:
  struct Kept {
    std::string address;
    FileStamp stamp;  // of the certificate
    std::shared_ptr<grpc::Channel> channel;
  };

  // Its last owner says that it was the last.
  struct Streams {
    ~Streams() { ended.set_value(); }
    std::promise<void> ended;
  };

  const std::string node_;
  const Published* const published_;
  const Files files_;
  std::shared_ptr<Streams> streams_ = std::make_shared<Streams>();
  Mutex mutex_;
  std::map<std::string, Kept> channels_ GUARDED_BY(mutex_);  // by node
};

// Whether the method is for the machine's process, and so for the node that has it.
bool IsForProcess(std::string_view method);

}  // namespace gemel::daemon
