#include "grpc/operations_service.h"

#include <algorithm>

namespace gemel::daemon {
namespace {

constexpr std::int64_t kMaxWaitMs = 3600'000;

// One Wait: answered when the operation is done, its time is up, or its client is gone. All but the
// callbacks of gRPC happens on the manager loop.
class WaitReactor final : public grpc::ServerUnaryReactor {
 public:
  WaitReactor(ServiceContext* services, std::string name, std::int64_t timeout_ms,
              v1::Operation* response)
      : state_(std::make_shared<State>()) {
    state_->services = services;
    state_->reactor = this;
    state_->name = std::move(name);
    state_->response = response;
    services->loop->Post([state = state_, timeout_ms] { Begin(state, timeout_ms); });
  }

  void OnCancel() override {
    state_->services->loop->Post(
        [state = state_] { End(state, {grpc::StatusCode::CANCELLED, "the client is gone"}); });
  }
  void OnDone() override { delete this; }

 private:
  struct State {
    ServiceContext* services = nullptr;
    grpc::ServerUnaryReactor* reactor = nullptr;  // null: answered
    std::string name;
    v1::Operation* response = nullptr;
    std::uint64_t wait = 0;
    Timers::Id timer = 0;
  };
  using StatePtr = std::shared_ptr<State>;

  static void Begin(const StatePtr& state, std::int64_t timeout_ms) {
    state->timer = state->services->timers->After(timeout_ms, [state] {
      const auto now = state->services->published->operations.Get(state->name);
      if (now == nullptr) return End(state, ToGrpc(ResourceNotFound("operation", state->name)));
      if (state->reactor != nullptr) *state->response = *now;
      End(state, grpc::Status::OK);
    });
    const std::uint64_t id = state->services->manager->WaitOperation(
        state->name, [state](const ApiResult<v1::Operation>& result) {
          if (result && state->reactor != nullptr) *state->response = *result;
          End(state, result ? grpc::Status::OK : ToGrpc(result.error()));
        });
    if (state->reactor != nullptr) state->wait = id;
  }

  static void End(const StatePtr& state, const grpc::Status& status) {
    if (state->reactor == nullptr) return;
    state->services->timers->Cancel(state->timer);
    if (state->wait != 0) state->services->manager->ForgetWait(state->wait);
    std::exchange(state->reactor, nullptr)->Finish(status);
  }

  const StatePtr state_;
};

}  // namespace

ApiResult<v1::Operation> OperationsService::Find(Context* context, std::string_view method,
                                                 access::Permission permission,
                                                 const std::string& name,
                                                 access::Caller* caller) const {
  if (auto parsed = ParseResourceName("name", "operations", name); !parsed)
    return std::unexpected(std::move(parsed).error());
  const auto found = services_->published->operations.Get(name);
  // Who has a role on the machine alone sees what happens to it.
  const std::string resource = found == nullptr ? name : found->metadata().target();
  auto admitted =
      services_->gate->Admit(*context, fmt::format("Operations/{}", method), permission, resource);
  if (!admitted) return std::unexpected(std::move(admitted).error());
  *caller = std::move(*admitted);
  if (found == nullptr) return std::unexpected(ResourceNotFound("operation", name));
  return *found;
}

// An operation that is not known here may be another node's, and what a machine's process does is told by
// the node that has it: whoever is asked judges the caller by what it is of. Null: it is this node's to
// answer.
template <class Request>
OperationsService::Reactor* OperationsService::AskOthers(Context* context, std::string_view method,
                                                         access::Permission permission,
                                                         const Request& request,
                                                         v1::Operation* response) {
  const std::string& name = request.name();
  const auto known = services_->published->operations.Get(name);
  if (services_->forwarder == nullptr || !ParseResourceName("name", "operations", name) ||
      (known != nullptr && known->metadata().node().empty()))
    return nullptr;
  const std::string full = fmt::format("Operations/{}", method);
  auto caller = services_->gate->Recognise(*context, full, permission, name);
  if (!caller)
    return Answer<v1::Operation>(services_, context, std::unexpected(caller.error()), response);
  std::vector<std::string> nodes = services_->forwarder->Others(*caller);
  if (known != nullptr)
    std::erase_if(nodes, [&](const std::string& node) {
      return known->metadata().node() != "nodes/" + node;
    });
  if (nodes.empty()) return nullptr;
  auto* reactor = context->DefaultReactor();
  const auto answer = [=, this, caller = *caller,
                       method_name = std::string(method)](ApiResult<v1::Operation> result) {
    const int code = result ? 0 : result.error().code();
    const bool unknown = code == static_cast<int>(Code::kNotFound);
    if (known != nullptr && (unknown || code == static_cast<int>(Code::kUnavailable))) {
      access::Caller again;
      result = Find(context, method_name, permission, name, &again);
    } else if (unknown) {
      auto admitted = services_->gate->Admit(*context, full, permission, name);
      result = std::unexpected(admitted ? ResourceNotFound("operation", name) : admitted.error());
    } else if (permission != access::Permission::kRead || (!result && IsDenial(result.error()))) {
      services_->gate->RecordForwarded(caller, full, name, "", "-",
                                       result ? nullptr : &result.error());
    }
    FinishRecorded(services_, reactor, std::move(result), response);
  };
  services_->forwarder->AskUntilKnown<v1::Operation>(nodes, full, *caller, *context, request,
                                                     answer);
  return reactor;
}

OperationsService::Reactor* OperationsService::Get(Context* context,
                                                   const v1::GetOperationRequest* request,
                                                   v1::Operation* response) {
  if (auto* asked = AskOthers(context, "Get", access::Permission::kRead, *request, response))
    return asked;
  access::Caller caller;
  return Answer<v1::Operation>(
      services_, context, Find(context, "Get", access::Permission::kRead, request->name(), &caller),
      response);
}

OperationsService::Reactor* OperationsService::List(Context* context,
                                                    const v1::ListOperationsRequest* request,
                                                    v1::ListOperationsResponse* response) {
  static const std::vector<std::string_view> kPaths = {"name", "done", "metadata.target",
                                                       "metadata.verb", "metadata.caller"};
  const auto answer = [&]() -> ApiResult<v1::ListOperationsResponse> {
    auto query = ParseList(*request, "operations", v1::Operation::descriptor(), kPaths);
    if (!query) return std::unexpected(std::move(query).error());
    auto caller =
        services_->gate->AdmitList(*context, "Operations/List", ListScope(request->parent()));
    if (!caller) return std::unexpected(std::move(caller).error());
    v1::ListOperationsResponse list;
    const auto visible = [&](const std::string&, const v1::Operation& operation) {
      return services_->gate->MayRead(*caller, operation.metadata().target());
    };
    for (const auto& operation :
         PageOf(services_->published->operations, *query, visible, list.mutable_next_page_token()))
      *list.add_operations() = *operation;
    return list;
  };
  return Answer<v1::ListOperationsResponse>(services_, context, answer(), response);
}

OperationsService::Reactor* OperationsService::Cancel(Context* context,
                                                      const v1::CancelOperationRequest* request,
                                                      v1::Operation* response) {
  if (auto* asked = AskOthers(context, "Cancel", access::Permission::kOperate, *request, response))
    return asked;
  access::Caller caller;
  auto found = Find(context, "Cancel", access::Permission::kOperate, request->name(), &caller);
  if (!found) return Answer<v1::Operation>(services_, context, found, response);
  auto* reactor = context->DefaultReactor();
  services_->loop->Post([this, reactor, response, caller, name = request->name()] {
    CallInfo call;
    call.caller = caller.name;
    call.method = "Cancel";
    services_->manager->CancelOperation(
        call, name,
        [this, reactor, response, caller, name](const ApiResult<v1::Operation>& result) {
          services_->gate->Record(caller, "Operations/Cancel", name, "",
                                  result ? nullptr : &result.error());
          FinishRecorded(services_, reactor, result, response);
        });
  });
  return reactor;
}

OperationsService::Reactor* OperationsService::Wait(Context* context,
                                                    const v1::WaitOperationRequest* request,
                                                    v1::Operation* response) {
  if (auto* asked = AskOthers(context, "Wait", access::Permission::kRead, *request, response))
    return asked;
  access::Caller caller;
  auto found = Find(context, "Wait", access::Permission::kRead, request->name(), &caller);
  if (!found || found->done()) return Answer<v1::Operation>(services_, context, found, response);
  std::int64_t timeout = kMaxWaitMs;
  if (request->has_timeout()) {
    const auto& asked = request->timeout();
    if (asked.seconds() < 0 || asked.nanos() < 0)
      return Answer<v1::Operation>(
          services_, context,
          std::unexpected(
              InvalidField("timeout", fmt::format("{} s is negative", asked.seconds()))),
          response);
    timeout =
        std::min(std::min<std::int64_t>(asked.seconds(), 3600) * 1000 + asked.nanos() / 1'000'000,
                 kMaxWaitMs);
  }
  return new WaitReactor(services_, request->name(), timeout, response);
}

}  // namespace gemel::daemon
