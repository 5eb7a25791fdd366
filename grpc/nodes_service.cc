#include "grpc/nodes_service.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

namespace gemel::daemon {
namespace {

void SetNow(google::protobuf::Timestamp& time, std::int64_t ago_s) {
  time.set_seconds(ClockNs(CLOCK_REALTIME) / 1'000'000'000 - ago_s);
}

void AddCapability(v1::Node& node, std::string_view name, const char* path,
                   std::string_view without) {
  v1::Capability& capability = *node.add_capabilities();
  capability.set_capability(std::string(name));
  capability.set_available(::access(path, R_OK | W_OK) == 0);
  if (!capability.available()) capability.set_message(std::string(without));
}

void AddCondition(v1::Node& node, std::string_view name, const std::string& problem) {
  v1::HealthCondition& condition = *node.add_conditions();
  condition.set_condition(std::string(name));
  condition.set_health(problem.empty() ? v1::NODE_HEALTH_OK : v1::NODE_HEALTH_FAILED);
  condition.set_message(Printable(problem));
  node.set_health(std::max(node.health(), condition.health()));
}

v1::NodeResources Left(const v1::NodeResources& all, const v1::NodeResources& used) {
  v1::NodeResources left;
  left.set_cpu_millis(all.cpu_millis() - std::min(all.cpu_millis(), used.cpu_millis()));
  left.set_memory_bytes(all.memory_bytes() - std::min(all.memory_bytes(), used.memory_bytes()));
  return left;
}

}  // namespace

NodesService::NodesService(ServiceContext* services, Facts facts)
    : services_(services), facts_(std::move(facts)) {
  fixed_.set_name("nodes/" + facts_.node);
  fixed_.set_version(facts_.version);
  utsname names{};
  if (uname(&names) == 0) fixed_.set_kernel(names.release);
  struct sysinfo info{};
  if (sysinfo(&info) == 0) SetNow(*fixed_.mutable_boot_time(), info.uptime);
  SetNow(*fixed_.mutable_start_time(), 0);
  fixed_.mutable_capacity()->set_cpu_millis(facts_.cpu_capacity_millis);
  fixed_.mutable_capacity()->set_memory_bytes(facts_.memory_capacity);
  AddCapability(fixed_, "kvm", "/dev/kvm", "no /dev/kvm: no machine can run (modprobe kvm)");
  AddCapability(fixed_, "vhost_net", "/dev/vhost-net",
                "no /dev/vhost-net: networking works, slower (modprobe vhost_net)");
  AddCapability(fixed_, "tun", "/dev/net/tun", "no /dev/net/tun: no networks (modprobe tun)");
}

v1::Node NodesService::Describe() const {
  v1::Node node = fixed_;
  services_->published->vms.Visit("", "", [&](const std::string&, const auto& vm) {
    node.set_defined_vms(node.defined_vms() + 1);
    const auto state = vm->status().state();
    if (state == v1::VIRTUAL_MACHINE_STATE_STOPPED || state == v1::VIRTUAL_MACHINE_STATE_FAILED)
      return true;
    node.set_running_vms(node.running_vms() + 1);
    v1::NodeResources& reserved = *node.mutable_reserved();
    reserved.set_memory_bytes(reserved.memory_bytes() + MemoryNeed(vm->spec()));
    reserved.set_cpu_millis(reserved.cpu_millis() + vm->spec().cpu().reservation_millis());
    return true;
  });
  *node.mutable_allocatable() = Left(node.capacity(), node.reserved());
  const auto store = services_->published->problems.Get("store");
  AddCondition(node, "store", store == nullptr ? "" : *store);
  AddCondition(node, "kvm", ::access("/dev/kvm", R_OK | W_OK) == 0 ? "" : "/dev/kvm is not ours");
  return node;
}

grpc::ServerUnaryReactor* NodesService::Get(grpc::CallbackServerContext* context,
                                            const v1::GetNodeRequest* request, v1::Node* response) {
  const std::string name = "nodes/" + facts_.node;
  auto caller = services_->gate->Admit(*context, "Nodes/Get", access::Permission::kRead, name);
  if (!caller)
    return Answer<v1::Node>(services_, context, std::unexpected(caller.error()), response);
  if (request->name() != "nodes/-" && request->name() != name)
    return Answer<v1::Node>(services_, context,
                            std::unexpected(ResourceNotFound("node", request->name())), response);
  return Answer<v1::Node>(services_, context, Describe(), response);
}

grpc::ServerUnaryReactor* NodesService::List(grpc::CallbackServerContext* context,
                                             const v1::ListNodesRequest* request,
                                             v1::ListNodesResponse* response) {
  static const std::vector<std::string_view> kPaths = {"name", "health"};
  auto caller = services_->gate->Admit(*context, "Nodes/List", access::Permission::kRead,
                                       "nodes/" + facts_.node);
  if (!caller)
    return Answer<v1::ListNodesResponse>(services_, context, std::unexpected(caller.error()),
                                         response);
  auto page = ParsePage(request->page_size(), request->page_token(), "nodes");
  if (!page)
    return Answer<v1::ListNodesResponse>(services_, context, std::unexpected(page.error()),
                                         response);
  auto filter = Filter::Parse(request->filter(), v1::Node::descriptor(), kPaths);
  if (!filter)
    return Answer<v1::ListNodesResponse>(services_, context, std::unexpected(filter.error()),
                                         response);
  v1::ListNodesResponse list;
  const v1::Node node = Describe();
  if (filter->Matches(node)) *list.add_nodes() = node;
  return Answer<v1::ListNodesResponse>(services_, context, list, response);
}

}  // namespace gemel::daemon
