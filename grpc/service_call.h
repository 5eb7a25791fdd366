// How services answer: a mutating call posted to the manager loop, a page of a directory. gRPC's
// threads call; replies come on the manager loop.
#pragma once
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/log_sink.h"
#include "grpc/call_gate.h"
#include "grpc/directory.h"
#include "grpc/filter.h"
#include "grpc/forwarder.h"
#include "grpc/page.h"
#include "grpc/resource_name.h"
#include "grpc/uuid.h"
#include "grpc/vm_manager.h"
#include "grpc/vm_sampler.h"

namespace gemel::daemon {

// What the services of one daemon share. All that it points to outlives them.
struct ServiceContext {
  EventLoop* loop = nullptr;  // the manager's
  Timers* timers = nullptr;   // on it
  VmManager* manager = nullptr;
  VmSampler* sampler = nullptr;  // on it
  Published* published = nullptr;
  const CallGate* gate = nullptr;
  Forwarder* forwarder = nullptr;  // null: no other node is asked
  std::atomic<int> posted{0};      // calls that the loop has not taken up yet
};

// More calls than this wait for the loop: new ones are refused.
inline constexpr int kMaxPostedCalls = 4096;
inline constexpr std::size_t kMaxRequestIdBytes = 64;

inline ApiResult<void> CheckRequestId(std::string_view id) {
  const bool printable =
      id.find_first_of("\n\r\t") == std::string_view::npos && Printable(id) == id;
  if (id.size() <= kMaxRequestIdBytes && printable) return {};
  return std::unexpected(InvalidField(
      "request_id",
      fmt::format("{} bytes: not at most {} printable characters", id.size(), kMaxRequestIdBytes)));
}

// Tells requests apart: by all of their fields, whatever order maps are in.
template <class Request>
std::string FingerprintOf(std::string_view method, const Request& request) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  return fmt::format("{} {} {:016x}{:016x}", method, bytes.size(), Fnv1a(bytes),
                     Fnv1a(bytes, 0x9e3779b97f4a7c15ull));
}

// One line a call that changes something, beside what is in the audit log.
inline void LogCall(std::string_view method, std::string_view resource,
                    const access::Caller& caller, const CallInfo& call,
                    const ApiResult<v1::Operation>& result) {
  const LogRequest log_request(call.request_id);
  if (result)
    LOG_UNLIMITED(kInfo, "api", "{} {} by {}: {}", method, Printable(resource),
                  Printable(caller.name), result->name().empty() ? "valid" : result->name());
  else
    LOG_UNLIMITED(kInfo, "api", "{} {} by {}: refused: {}", method, Printable(resource),
                  Printable(caller.name), Printable(result.error().message()));
}

// Answers when the record of the call is on the disk.
template <class Result>
void FinishRecorded(const ServiceContext* services, grpc::ServerUnaryReactor* reactor,
                    ApiResult<Result> result, Result* response) {
  if (result) *response = std::move(*result);
  services->gate->WhenRecorded(
      [reactor, status = result ? grpc::Status::OK : ToGrpc(result.error())] {
        reactor->Finish(status);
      });
}

template <class Result>
grpc::ServerUnaryReactor* AnswerRecorded(const ServiceContext* services,
                                         grpc::CallbackServerContext* context,
                                         ApiResult<Result> result, Result* response) {
  auto* reactor = context->DefaultReactor();
  FinishRecorded(services, reactor, std::move(result), response);
  return reactor;
}

inline bool IsDenial(const ApiError& error) {
  return error.code() == static_cast<int>(Code::kPermissionDenied) ||
         error.code() == static_cast<int>(Code::kUnauthenticated);
}

// For calls that change nothing: they have a record if they are denied.
template <class Result>
grpc::ServerUnaryReactor* Answer(const ServiceContext* services,
                                 grpc::CallbackServerContext* context, ApiResult<Result> result,
                                 Result* response) {
  if (!result && IsDenial(result.error()))
    return AnswerRecorded(services, context, std::move(result), response);
  auto* reactor = context->DefaultReactor();
  if (result) *response = std::move(*result);
  reactor->Finish(result ? grpc::Status::OK : ToGrpc(result.error()));
  return reactor;
}

// The other node that a call of that machine's must be passed on to; empty: none.
inline std::string NodeToAsk(const ServiceContext* services, const access::Caller& caller,
                             std::string_view machine) {
  return services->forwarder == nullptr ? "" : services->forwarder->NodeOf(caller, machine);
}

// Passes a call that changes something on to `node`; what became of it is on record here, too.
template <class Request, class Response>
grpc::ServerUnaryReactor* ForwardChange(const ServiceContext* services,
                                        grpc::CallbackServerContext* context,
                                        const std::string& node, const access::Caller& caller,
                                        const std::string& method, const std::string& resource,
                                        const Request& request, Response* response) {
  auto* reactor = context->DefaultReactor();
  services->forwarder->Ask<Response>(
      node, method, caller, *context, request,
      [=, id = request.request_id()](ApiResult<Response> result) {
        services->gate->RecordForwarded(caller, method, resource, id, node,
                                        result ? nullptr : &result.error());
        FinishRecorded(services, reactor, std::move(result), response);
      });
  return reactor;
}

// The same for one that changes nothing.
template <class Request, class Response>
grpc::ServerUnaryReactor* ForwardRead(const ServiceContext* services,
                                      grpc::CallbackServerContext* context, const std::string& node,
                                      const access::Caller& caller, const std::string& method,
                                      const Request& request, Response* response) {
  auto* reactor = context->DefaultReactor();
  services->forwarder->Ask<Response>(
      node, method, caller, *context, request, [=](ApiResult<Response> result) {
        if (result) *response = std::move(*result);
        reactor->Finish(result ? grpc::Status::OK : ToGrpc(result.error()));
      });
  return reactor;
}

// A call that changes something: admitted, posted, recorded, answered.
template <class Request>
grpc::ServerUnaryReactor* Mutate(ServiceContext* services, grpc::CallbackServerContext* context,
                                 std::string_view service, std::string_view verb,
                                 access::Permission permission, const std::string& resource,
                                 const Request& request, v1::Operation* response,
                                 void (VmManager::*method)(CallInfo, Request, VmManager::Reply)) {
  const std::string full = fmt::format("{}/{}", service, verb);
  auto caller = services->gate->Admit(*context, full, permission, resource);
  const auto refuse = [&](const ApiError& error) {
    return AnswerRecorded<v1::Operation>(services, context, std::unexpected(error), response);
  };
  if (!caller) return refuse(caller.error());
  const auto record_refused = [&](const ApiError& error) {
    services->gate->Record(*caller, full, resource, request.request_id(), &error);
    return refuse(error);
  };
  if (auto good = CheckRequestId(request.request_id()); !good) return record_refused(good.error());
  if (IsForProcess(full))
    if (const std::string node = NodeToAsk(services, *caller, resource); !node.empty())
      return ForwardChange(services, context, node, *caller, full, resource, request, response);
  if (services->posted.load() > kMaxPostedCalls)
    return record_refused(
        MakeApiError(Code::kUnavailable, "OVERLOADED", "too many calls wait; try again"));
  CallInfo call{caller->name, std::string(verb), request.request_id(), FingerprintOf(full, request),
                request.validate_only()};
  auto* reactor = context->DefaultReactor();
  ++services->posted;
  services->loop->Post([=, caller = std::move(*caller), call = std::move(call), copy = request] {
    --services->posted;
    const LogRequest log_request(call.request_id);
    (services->manager->*method)(call, copy, [=](const ApiResult<v1::Operation>& result) {
      LogCall(full, resource, caller, call, result);
      services->gate->Record(caller, full, resource, call.request_id,
                             result ? nullptr : &result.error());
      FinishRecorded(services, reactor, result, response);
    });
  });
  return reactor;
}

// What List of a collection asks for.
struct ListQuery {
  std::string prefix;  // of names
  Page page;
  Filter filter;
  std::string query;  // what a page token belongs to
};

template <class Request>
ApiResult<ListQuery> ParseList(const Request& request, std::string_view collection,
                               const google::protobuf::Descriptor* type,
                               const std::vector<std::string_view>& paths) {
  auto project = ParseParent("parent", request.parent(), Wildcard::kAllowed);
  if (!project) return std::unexpected(std::move(project).error());
  const std::string query = fmt::format("{} {} {}", collection, request.parent(), request.filter());
  auto page = ParsePage(request.page_size(), request.page_token(), query);
  if (!page) return std::unexpected(std::move(page).error());
  auto filter = Filter::Parse(request.filter(), type, paths);
  if (!filter) return std::unexpected(std::move(filter).error());
  const std::string prefix =
      *project == "-" ? "projects/" : MakeResourceName(*project, collection, "");
  return ListQuery{prefix, std::move(*page), std::move(*filter), query};
}

// The values of a page that `visible` lets pass; `next_token` is empty if it is the last.
template <class T, class Visible>
std::vector<typename Directory<T>::Value> PageOf(const Directory<T>& directory,
                                                 const ListQuery& query, const Visible& visible,
                                                 std::string* next_token) {
  std::vector<std::pair<std::string, typename Directory<T>::Value>> all;
  directory.Visit(query.prefix, query.page.after, [&](const std::string& name, const auto& value) {
    all.emplace_back(name, value);
    return true;
  });
  std::vector<typename Directory<T>::Value> found;
  std::string last;
  for (const auto& [name, value] : all) {
    if (!query.filter.Matches(*value) || !visible(name, *value)) continue;
    if (found.size() == query.page.size) {
      *next_token = MakePageToken(last, query.query);
      break;
    }
    found.push_back(value);
    last = name;
  }
  return found;
}

// The resource that List of `parent` is admitted for.
inline std::string ListScope(const std::string& parent) {
  return parent == "projects/-" || parent.empty() ? "" : parent;
}

}  // namespace gemel::daemon
