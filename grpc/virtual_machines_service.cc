#include "grpc/virtual_machines_service.h"

#include <set>

#include "grpc/stats_gathering.h"

namespace gemel::daemon {
namespace {

using access::Permission;

constexpr std::string_view kVmsService = "VirtualMachines";
constexpr int kMaxNames = 1000;  // of ListStats

const std::vector<std::string_view>& FilterPaths() {
  static const std::vector<std::string_view> paths = {"name",
                                                      "uid",
                                                      "desired_state",
                                                      "status.state",
                                                      "status.reason",
                                                      "status.node",
                                                      "labels.*",
                                                      "spec.machine_type",
                                                      "spec.cpu.count",
                                                      "description",
                                                      "spec.memory.size_bytes"};
  return paths;
}

void FillInspection(const VmInfo& info, v1::VirtualMachineInspection& out) {
  out.set_sandbox_mode(info.sandbox_mode == SandboxMode::kRequired ? "required"
                       : info.sandbox_mode == SandboxMode::kOff    ? "off"
                                                                   : "default");
  for (const SandboxLayer& layer : info.sandbox) {
    v1::SandboxLayer& to = *out.add_sandbox_layers();
    to.set_layer(Printable(layer.name));
    to.set_active(layer.active);
    to.set_note(Printable(layer.note));
  }
  for (const DeviceInfo& device : info.devices) {
    v1::DeviceInspection& to = *out.add_devices();
    to.set_device(Printable(device.name));
    to.set_kind(Printable(device.kind));
    to.set_place(Printable(device.place));
    to.set_engine(Printable(device.engine));
    to.set_note(Printable(device.note));
    for (const auto& [name, value] : device.counters)
      (*to.mutable_counters())[Printable(name)] = value;
  }
  for (const std::string& note : info.notes) out.add_notes(Printable(note));
}

void FillLimits(const VmLimitsInForce& limits, v1::VirtualMachineInspection& out) {
  v1::LimitsInForce& to = *out.mutable_limits();
  to.set_cgroup(limits.cgroup);
  to.set_cpu_weight(limits.cpu_weight);
  to.set_cpu_limit_millis(limits.cpu_cap_milli);
  *to.mutable_cpus() = {limits.cpus.begin(), limits.cpus.end()};
  to.set_memory_limit_bytes(limits.memory);
  to.set_memory_current_bytes(limits.memory_current);
  for (const std::string& line : limits.io) to.add_io_limits(Printable(line));
  for (const std::string& missing : limits.missing) out.add_notes(Printable(missing));
}

}  // namespace

VirtualMachinesService::Reactor* VirtualMachinesService::Create(
    Context* context, const v1::CreateVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Create", Permission::kChange, request->parent(),
                *request, response, &VmManager::Create);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Get(
    Context* context, const v1::GetVirtualMachineRequest* request, v1::VirtualMachine* response) {
  const auto answer = [&]() -> ApiResult<v1::VirtualMachine> {
    if (auto name = ParseResourceName("name", "vms", request->name()); !name)
      return std::unexpected(std::move(name).error());
    auto caller =
        services_->gate->Admit(*context, "VirtualMachines/Get", Permission::kRead, request->name());
    if (!caller) return std::unexpected(std::move(caller).error());
    const auto found = services_->published->vms.Get(request->name());
    if (found == nullptr) return std::unexpected(ResourceNotFound("vm", request->name()));
    return *found;
  };
  return Answer<v1::VirtualMachine>(services_, context, answer(), response);
}

VirtualMachinesService::Reactor* VirtualMachinesService::List(
    Context* context, const v1::ListVirtualMachinesRequest* request,
    v1::ListVirtualMachinesResponse* response) {
  const auto answer = [&]() -> ApiResult<v1::ListVirtualMachinesResponse> {
    auto query = ParseList(*request, "vms", v1::VirtualMachine::descriptor(), FilterPaths());
    if (!query) return std::unexpected(std::move(query).error());
    auto caller =
        services_->gate->AdmitList(*context, "VirtualMachines/List", ListScope(request->parent()));
    if (!caller) return std::unexpected(std::move(caller).error());
    v1::ListVirtualMachinesResponse list;
    const auto visible = [&](const std::string& name, const v1::VirtualMachine&) {
      return services_->gate->MayRead(*caller, name);
    };
    for (const auto& vm :
         PageOf(services_->published->vms, *query, visible, list.mutable_next_page_token()))
      *list.add_virtual_machines() = *vm;
    return list;
  };
  return Answer<v1::ListVirtualMachinesResponse>(services_, context, answer(), response);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Update(
    Context* context, const v1::UpdateVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Update", Permission::kChange,
                request->virtual_machine().name(), *request, response, &VmManager::Update);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Delete(
    Context* context, const v1::DeleteVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Delete", Permission::kChange, request->name(),
                *request, response, &VmManager::Delete);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Start(
    Context* context, const v1::StartVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Start", Permission::kOperate, request->name(),
                *request, response, &VmManager::Start);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Shutdown(
    Context* context, const v1::ShutdownVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Shutdown", Permission::kOperate, request->name(),
                *request, response, &VmManager::Shutdown);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Stop(
    Context* context, const v1::StopVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Stop", Permission::kOperate, request->name(),
                *request, response, &VmManager::Stop);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Reset(
    Context* context, const v1::ResetVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Reset", Permission::kOperate, request->name(),
                *request, response, &VmManager::Reset);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Pause(
    Context* context, const v1::PauseVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Pause", Permission::kOperate, request->name(),
                *request, response, &VmManager::Pause);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Resume(
    Context* context, const v1::ResumeVirtualMachineRequest* request, v1::Operation* response) {
  return Mutate(services_, context, kVmsService, "Resume", Permission::kOperate, request->name(),
                *request, response, &VmManager::Resume);
}

VirtualMachinesService::Reactor* VirtualMachinesService::Inspect(
    Context* context, const v1::InspectVirtualMachineRequest* request,
    v1::VirtualMachineInspection* response) {
  auto caller = services_->gate->Admit(*context, "VirtualMachines/Inspect", Permission::kRead,
                                       request->name());
  if (!caller)
    return Answer<v1::VirtualMachineInspection>(services_, context, std::unexpected(caller.error()),
                                                response);
  if (const std::string node = NodeToAsk(services_, *caller, request->name()); !node.empty())
    return ForwardRead(services_, context, node, *caller, "VirtualMachines/Inspect", *request,
                       response);
  auto* reactor = context->DefaultReactor();
  services_->loop->Post([this, reactor, response, name = request->name()] {
    const auto uid = services_->manager->UidOf(name);
    if (!uid) return reactor->Finish(ToGrpc(uid.error()));
    VmSupervisor* supervisor = services_->manager->supervisor();
    supervisor->GetInfo(*uid, [=, uid = *uid](const Result<VmInfo>& info) {
      if (!info && info.error().code == Code::kNotFound)
        return reactor->Finish(ToGrpc(WrongState(name, name + " does not run")));
      if (!info) return reactor->Finish(ToGrpc(FromError(info.error(), reason::kHostRefused)));
      response->set_name(name);
      FillInspection(*info, *response);
      response->set_pid(supervisor->Pid(uid));
      if (const auto limits = supervisor->Limits(uid)) FillLimits(*limits, *response);
      supervisor->MeasureOverhead(uid, [=](std::uint64_t bytes) {
        response->set_overhead_bytes(bytes);
        reactor->Finish(grpc::Status::OK);
      });
    });
  });
  return reactor;
}

ApiResult<std::vector<std::string>> VirtualMachinesService::NamesOf(
    const access::Caller& caller, const v1::ListVirtualMachineStatsRequest& request,
    const ListQuery& query, std::string* next_token) const {
  const auto visible = [&](const std::string& name, const v1::VirtualMachine&) {
    return services_->gate->MayRead(caller, name);
  };
  std::vector<std::string> found;
  if (request.names().empty()) {
    for (const auto& vm : PageOf(services_->published->vms, query, visible, next_token))
      found.push_back(vm->name());
    return found;
  }
  if (request.names_size() > kMaxNames)
    return std::unexpected(InvalidField(
        "names", fmt::format("{} names: not at most {}", request.names_size(), kMaxNames)));
  if (request.page_size() != 0 || !request.page_token().empty())
    return std::unexpected(InvalidField("names", "with page_size or page_token: give one of them"));
  const std::set<std::string> names(request.names().begin(), request.names().end());
  for (const std::string& name : names) {
    const auto vm = services_->published->vms.Get(name);
    if (vm != nullptr && name.starts_with(query.prefix) && query.filter.Matches(*vm) &&
        visible(name, *vm))
      found.push_back(name);
  }
  return found;
}

VirtualMachinesService::Reactor* VirtualMachinesService::ListStats(
    Context* context, const v1::ListVirtualMachineStatsRequest* request,
    v1::ListVirtualMachineStatsResponse* response) {
  const auto refuse = [&](const ApiError& error) {
    return Answer<v1::ListVirtualMachineStatsResponse>(services_, context, std::unexpected(error),
                                                       response);
  };
  auto query = ParseList(*request, "vms", v1::VirtualMachine::descriptor(), FilterPaths());
  if (!query) return refuse(query.error());
  auto caller = services_->gate->AdmitList(*context, "VirtualMachines/ListStats",
                                           ListScope(request->parent()));
  if (!caller) return refuse(caller.error());
  auto names = NamesOf(*caller, *request, *query, response->mutable_next_page_token());
  if (!names) return refuse(names.error());
  auto* reactor = context->DefaultReactor();
  std::make_shared<StatsGathering>(services_, std::move(*names), reactor, response)
      ->Begin(*context, *caller, request->parent());
  return reactor;
}

}  // namespace gemel::daemon
