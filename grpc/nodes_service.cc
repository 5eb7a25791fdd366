#include "grpc/nodes_service.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_util.h"

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

// io_uring_setup(2) without entries: EINVAL where there is one.
std::string WithoutIoUring() {
  if (syscall(SYS_io_uring_setup, 0, nullptr) >= 0 || errno == EINVAL || errno == EFAULT) return {};
  return "the kernel refuses io_uring: disks work, slower (sysctl kernel.io_uring_disabled)";
}

// A version, or why not.
v1::Capability Landlock() {
  v1::Capability capability;
  capability.set_capability("landlock");
  const long version =
      syscall(SYS_landlock_create_ruleset, nullptr, 0ul, LANDLOCK_CREATE_RULESET_VERSION);
  capability.set_available(version > 0);
  capability.set_message(version > 0 ? fmt::format("ABI {}", version)
                                     : "the kernel has none: a layer of the sandbox is missing "
                                       "(lsm=landlock,...)");
  return capability;
}

// What of control groups is missing.
std::string WithoutGroups() {
  for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    const auto text = ReadTextFile(std::string(mount) + "/cgroup.controllers");
    if (!text) continue;
    std::vector<std::string_view> missing;
    for (const std::string_view controller : {"cpu", "cpuset", "io", "memory"}) {
      const std::string words = " " + text->substr(0, text->find('\n')) + " ";
      if (words.find(fmt::format(" {} ", controller)) == std::string::npos)
        missing.push_back(controller);
    }
    if (missing.empty()) return {};
    return fmt::format("{} has no controller {}: those limits are not in force", mount,
                       fmt::join(missing, ", "));
  }
  return "no cgroup v2 at /sys/fs/cgroup: no limit is in force";
}

void AddKernel(v1::Node& node) {
  v1::Capability& uring = *node.add_capabilities();
  uring.set_capability("io_uring");
  uring.set_message(WithoutIoUring());
  uring.set_available(uring.message().empty());
  v1::Capability& groups = *node.add_capabilities();
  groups.set_capability("cgroup_v2");
  groups.set_message(WithoutGroups());
  groups.set_available(groups.message().empty());
  *node.add_capabilities() = Landlock();
}

std::uint64_t ReadNumber(const char* path) {
  const auto text = ReadTextFile(path);
  return text ? std::strtoull(text->c_str(), nullptr, 10) : 0;
}

// Reserved pages of 2 MiB: the kernel's count, whoever has them.
void AddHugePages(v1::Node& node) {
  constexpr std::uint64_t kBytes = 2ull << 20;
  const std::uint64_t all = ReadNumber("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
  const std::uint64_t free =
      std::min(all, ReadNumber("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"));
  node.mutable_capacity()->set_hugepage_bytes(all * kBytes);
  node.mutable_reserved()->set_hugepage_bytes((all - free) * kBytes);
  node.mutable_allocatable()->set_hugepage_bytes(free * kBytes);
}

void AddCondition(v1::Node& node, const v1::HealthCondition& condition) {
  *node.add_conditions() = condition;
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
  AddKernel(fixed_);
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
  AddHugePages(node);
  services_->published->conditions.Visit("", "", [&](const std::string& name, const auto& last) {
    v1::HealthCondition condition = *last;
    // Known at once, whenever it was looked at.
    if (const auto problem = services_->published->problems.Get(name); problem != nullptr) {
      condition.set_health(v1::NODE_HEALTH_FAILED);
      condition.set_message(Printable(*problem));
    }
    AddCondition(node, condition);
    return true;
  });
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
