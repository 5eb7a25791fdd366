#include "grpc/stats_gathering.h"

#include "grpc/convert.h"

namespace gemel::daemon {
namespace {

// What the sampler may take, and the way there and back.
constexpr std::chrono::milliseconds kNodeLimit{3000};

}  // namespace

void StatsGathering::Begin(const grpc::CallbackServerContext& context, const access::Caller& caller,
                           const std::string& parent) {
  std::map<std::string, Names> elsewhere;
  for (const std::string& name : names_)
    if (const std::string node = NodeToAsk(services_, caller, name); !node.empty())
      elsewhere[node].insert(name);
  due_ += elsewhere.size();
  for (auto& [node, names] : elsewhere) AskNode(node, std::move(names), context, caller, parent);
  services_->loop->Post([self = shared_from_this()] { self->AskSampler(); });
}

void StatsGathering::AskNode(const std::string& node, Names names,
                             const grpc::CallbackServerContext& context,
                             const access::Caller& caller, const std::string& parent) {
  v1::ListVirtualMachineStatsRequest request;
  request.set_parent(parent);
  *request.mutable_names() = {names.begin(), names.end()};
  const auto answered = [self = shared_from_this(), node, names](ApiResult<Response> answer) {
    self->services_->loop->Post([self, node, names, answer = std::move(answer)] {
      if (answer)
        self->Take(names, *answer);
      else
        self->NoteUnreachable(node, answer.error());
      self->OnAnswer();
    });
  };
  services_->forwarder->Ask<Response>(node, "VirtualMachines/ListStats", caller, context, request,
                                      answered, kNodeLimit);
}

void StatsGathering::NoteUnreachable(const std::string& node, const ApiError& error) {
  unreachable_.insert("nodes/" + node);
  LOG(kWarning, "api", "statistics of node {} are missing: {}", node, Printable(error.message()));
}

// A node says nothing of machines that it was not asked for.
void StatsGathering::Take(const Names& names, const Response& answer) {
  for (const v1::VirtualMachineStats& stats : answer.virtual_machine_stats())
    if (names.contains(stats.name())) found_[stats.name()] = stats;
}

void StatsGathering::AskSampler() {
  services_->sampler->Refresh([self = shared_from_this()] {
    for (const std::string& name : self->names_) {
      const auto sample = self->services_->published->samples.Get(name);
      const auto vm = self->services_->published->vms.Get(name);
      if (sample == nullptr || vm == nullptr || vm->uid() != sample->uid) continue;
      self->found_[name] = ToStats(name, sample->realtime_ns, sample->statistics);
    }
    self->OnAnswer();
  });
}

void StatsGathering::OnAnswer() {
  if (--due_ != 0) return;
  for (const std::string& name : names_)
    if (const auto found = found_.find(name); found != found_.end())
      *response_->add_virtual_machine_stats() = std::move(found->second);
  *response_->mutable_unreachable() = {unreachable_.begin(), unreachable_.end()};
  reactor_->Finish(grpc::Status::OK);
}

}  // namespace gemel::daemon
