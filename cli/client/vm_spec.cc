// gemel vm create and update: the command line as a spec.
#include <google/protobuf/util/json_util.h>

#include "base/file_util.h"
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/device_words.h"
#include "cli/client/operation_wait.h"
#include "cli/report.h"
#include "proto/gemel/v1/virtual_machines.pb.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

// What the command line says of a machine; "" and empty lists: nothing.
struct SpecOptions {
  std::string file;
  std::string cpus;
  std::string memory;
  std::string kernel;
  std::string initrd;
  std::string command_line;
  std::string machine_type;
  std::string description;
  std::string cpu_weight;
  std::string cpu_limit;
  std::string cpu_reserve;
  std::string cpu_pin;
  std::string memory_limit;
  std::string restart;
  std::string failover;
  std::vector<std::string> disks;
  std::vector<std::string> nics;
  std::vector<std::string> labels;
};

void AddSpecOptions(OptionParser& parser, SpecOptions& options) {
  parser.AddOption("--file,-f", options.file, "a VirtualMachine as JSON; options change it")
      .Value("FILE");
  parser.AddOption("--cpus", options.cpus, "processors").Value("N");
  parser.AddOption("--memory", options.memory, "512M, 2G").Value("SIZE");
  parser.AddOption("--kernel", options.kernel, "path on the node").Value("FILE");
  parser.AddOption("--initrd", options.initrd, "path on the node").Value("FILE");
  parser.AddOption("--cmdline", options.command_line, "of the kernel").Value("TEXT");
  parser
      .AddOption("--disk", options.disks,
                 "NAME or iscsi=TARGET/LUN, [,readonly][,direct][,read-bps=SIZE][,write-bps=SIZE]"
                 "[,read-iops=N][,write-iops=N]; once for each")
      .Value("DISK")
      .OneValueEach();
  parser
      .AddOption("--nic", options.nics,
                 "a network's name or user, [,mac=ADDRESS][,ip=ADDRESS][,vlan=N][,link=up|down]"
                 "[,queues=N][,rx=SIZE][,tx=SIZE]; once for each")
      .Value("NETWORK")
      .OneValueEach();
  parser.AddOption("--machine", options.machine_type, "server-1 or micro-1").Value("TYPE");
  parser.AddOption("--cpu-weight", options.cpu_weight, "against other VMs, 1 to 10000").Value("N");
  parser.AddOption("--cpu-limit", options.cpu_limit, "at most so many host processors, 1.5")
      .Value("CORES");
  parser.AddOption("--cpu-reserve", options.cpu_reserve, "so many are its own, 0.5").Value("CORES");
  parser.AddOption("--cpu-pin", options.cpu_pin, "host processors that it may run on, 0-2,5")
      .Value("LIST");
  parser
      .AddOption("--memory-limit", options.memory_limit,
                 "of the guest and the process around it; else the two as they are")
      .Value("SIZE");
  parser.AddOption("--restart", options.restart, "never or on-failure").Value("WHEN");
  parser
      .AddOption("--failover", options.failover,
                 "the cluster's: on, or priority=N,preferred=NODE,fail-back,group=NAME,stay-down,"
                 "heartbeat=none|restart")
      .Value("POLICY");
  parser.AddOption("--description", options.description, "for people").Value("TEXT");
  parser.AddOption("--label", options.labels, "KEY=VALUE; once for each")
      .Value("LABEL")
      .OneValueEach();
}

Status ReadFile(const std::string& path, v1::VirtualMachine& vm) {
  if (path.empty()) return {};
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path == "-" ? "/dev/stdin" : path));
  const auto status = google::protobuf::util::JsonStringToMessage(text, &vm);
  if (!status.ok()) {
    return InvalidArgument("file: {}: {}", path,
                           std::string(status.message().data(), status.message().size()));
  }
  return {};
}

// Each of these notes in `paths` what it has set, as an update mask wants it.
struct Filling {
  const SpecOptions& options;
  const Session& session;
  v1::VirtualMachine& vm;
  std::vector<std::string> paths{};
};

Status FillNumbers(Filling& fill) {
  v1::VirtualMachineSpec& spec = *fill.vm.mutable_spec();
  if (!fill.options.cpus.empty()) {
    ASSIGN_OR_RETURN(const std::uint32_t count,
                     ParseNumber("cpus", fill.options.cpus, 1, 1'000'000));
    spec.mutable_cpu()->set_count(count);
    fill.paths.emplace_back("spec.cpu.count");
  }
  if (!fill.options.cpu_weight.empty()) {
    ASSIGN_OR_RETURN(const std::uint32_t weight,
                     ParseNumber("cpu-weight", fill.options.cpu_weight, 1, 10'000));
    spec.mutable_cpu()->set_weight(weight);
    fill.paths.emplace_back("spec.cpu.weight");
  }
  if (!fill.options.memory.empty()) {
    ASSIGN_OR_RETURN(const std::uint64_t size, ParseSize("memory", fill.options.memory));
    spec.mutable_memory()->set_size_bytes(size);
    fill.paths.emplace_back("spec.memory.size_bytes");
  }
  return {};
}

// What it may have of the host.
Status FillLimits(Filling& fill) {
  const SpecOptions& options = fill.options;
  v1::CpuSpec& cpu = *fill.vm.mutable_spec()->mutable_cpu();
  if (!options.cpu_limit.empty()) {
    ASSIGN_OR_RETURN(const std::uint32_t millis, ParseCores("cpu-limit", options.cpu_limit));
    cpu.set_limit_millis(millis);
    fill.paths.emplace_back("spec.cpu.limit_millis");
  }
  if (!options.cpu_reserve.empty()) {
    ASSIGN_OR_RETURN(const std::uint32_t millis, ParseCores("cpu-reserve", options.cpu_reserve));
    cpu.set_reservation_millis(millis);
    fill.paths.emplace_back("spec.cpu.reservation_millis");
  }
  if (!options.cpu_pin.empty()) {
    ASSIGN_OR_RETURN(const std::vector<std::uint32_t> cpus,
                     ParseCpuList("cpu-pin", options.cpu_pin));
    *cpu.mutable_pinned_cpus() = {cpus.begin(), cpus.end()};
    fill.paths.emplace_back("spec.cpu.pinned_cpus");
  }
  if (!options.memory_limit.empty()) {
    ASSIGN_OR_RETURN(const std::uint64_t size, ParseSize("memory-limit", options.memory_limit));
    fill.vm.mutable_spec()->mutable_memory()->set_limit_bytes(size);
    fill.paths.emplace_back("spec.memory.limit_bytes");
  }
  return {};
}

Status FillWords(Filling& fill) {
  const SpecOptions& options = fill.options;
  v1::VirtualMachineSpec& spec = *fill.vm.mutable_spec();
  const auto set = [&fill](const std::string& value, std::string* field, const char* path) {
    if (value.empty()) return;
    *field = value;
    fill.paths.emplace_back(path);
  };
  if (!options.kernel.empty() || !options.initrd.empty() || !options.command_line.empty()) {
    set(options.kernel, spec.mutable_boot()->mutable_kernel(), "spec.boot.kernel");
    set(options.initrd, spec.mutable_boot()->mutable_initrd(), "spec.boot.initrd");
    set(options.command_line, spec.mutable_boot()->mutable_command_line(),
        "spec.boot.command_line");
  }
  set(options.machine_type, spec.mutable_machine_type(), "spec.machine_type");
  set(options.description, fill.vm.mutable_description(), "description");
  if (options.restart.empty()) return {};
  if (options.restart != "never" && options.restart != "on-failure")
    return InvalidArgument("restart: {}: unknown; there is never, on-failure", options.restart);
  spec.set_restart_policy(options.restart == "never" ? v1::RESTART_POLICY_NEVER
                                                     : v1::RESTART_POLICY_ON_FAILURE);
  fill.paths.emplace_back("spec.restart_policy");
  return {};
}

Status FillPolicy(std::string_view word, v1::FailoverSpec& failover) {
  const std::size_t equals = std::min(word.find('='), word.size());
  const std::string_view key = word.substr(0, equals);
  const std::string value(word.substr(std::min(equals + 1, word.size())));
  if (key == "priority") {
    ASSIGN_OR_RETURN(const std::uint32_t priority, ParseNumber("priority", value, 0, 1000));
    failover.set_priority(priority);
  } else if (key == "preferred" && !value.empty()) {
    failover.set_preferred_node("nodes/" + value);
  } else if (key == "group" && !value.empty()) {
    failover.set_anti_affinity_group(value);
  } else if (word == "heartbeat=restart" || word == "heartbeat=none") {
    failover.set_on_heartbeat_loss(value == "restart" ? v1::ON_HEARTBEAT_LOSS_RESTART
                                                      : v1::ON_HEARTBEAT_LOSS_NONE);
  } else if (word == "fail-back") {
    failover.set_fail_back(true);
  } else if (word == "stay-down") {
    failover.set_stay_down(true);
  } else if (word != "on") {
    return InvalidArgument("failover: {}: unknown; see --help", word);
  }
  return {};
}

Status FillFailover(Filling& fill) {
  if (fill.options.failover.empty()) return {};
  v1::FailoverSpec& failover = *fill.vm.mutable_spec()->mutable_failover();
  failover.Clear();
  fill.paths.emplace_back("spec.failover");
  std::string_view rest = fill.options.failover;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    RETURN_IF_ERROR(FillPolicy(rest.substr(0, comma), failover));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return {};
}

Status FillDisks(Filling& fill) {
  if (fill.options.disks.empty()) return {};
  fill.vm.mutable_spec()->clear_disks();
  fill.paths.emplace_back("spec.disks");
  for (const std::string& word : fill.options.disks) {
    v1::DiskAttachment& disk = *fill.vm.mutable_spec()->add_disks();
    ASSIGN_OR_RETURN(disk, ParseDiskWord(word));
    if (disk.has_iscsi()) continue;
    ASSIGN_OR_RETURN(*disk.mutable_disk(), fill.session.NameOf("disks", disk.disk()));
  }
  return {};
}

Status FillNics(Filling& fill) {
  if (fill.options.nics.empty()) return {};
  fill.vm.mutable_spec()->clear_nics();
  fill.paths.emplace_back("spec.nics");
  for (const std::string& word : fill.options.nics) {
    v1::NetworkInterface& nic = *fill.vm.mutable_spec()->add_nics();
    ASSIGN_OR_RETURN(nic, ParseNicWord(word));
    if (nic.network().empty()) continue;
    ASSIGN_OR_RETURN(*nic.mutable_network(), fill.session.NameOf("networks", nic.network()));
  }
  return {};
}

Status FillLabels(Filling& fill) {
  if (fill.options.labels.empty()) return {};
  fill.paths.emplace_back("labels");
  for (const std::string& word : fill.options.labels) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0)
      return InvalidArgument("label: {}: not KEY=VALUE", word);
    (*fill.vm.mutable_labels())[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return {};
}

Result<std::vector<std::string>> Fill(const SpecOptions& options, const Session& session,
                                      v1::VirtualMachine& vm) {
  RETURN_IF_ERROR(ReadFile(options.file, vm));
  Filling fill{options, session, vm};
  for (const auto step :
       {FillNumbers, FillLimits, FillWords, FillFailover, FillDisks, FillNics, FillLabels})
    RETURN_IF_ERROR(step(fill));
  return std::move(fill.paths);
}

}  // namespace

Status VmCreate(Words words) {
  Session session("vm create");
  SpecOptions options;
  std::string name;
  bool start = false;
  OptionParser parser(R"(Examples:
  gemel vm create web --kernel vmlinuz --cpus 2 --memory 2G --disk web-root --nic user
  gemel vm create -f web.json --start --wait

Defines a virtual machine.)");
  parser.AddOption("NAME", name, "1 to 63 of a-z 0-9 -");
  parser.AddFlag("--start", start, "and starts it");
  AddSpecOptions(parser, options);
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  v1::CreateVirtualMachineRequest request;
  v1::VirtualMachine& vm = *request.mutable_virtual_machine();
  RETURN_IF_ERROR(Fill(options, session, vm));
  if (name.empty()) name = vm.name();
  if (name.empty()) return InvalidArgument("NAME: is missing");
  ASSIGN_OR_RETURN(const std::string full, session.NameOf("vms", name));
  request.set_parent(full.substr(0, full.find("/vms/")));
  request.set_vm_id(LastPart(full));
  vm.clear_name();
  vm.clear_etag();
  if (start) vm.set_desired_state(v1::DESIRED_STATE_RUNNING);
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("VirtualMachines/Create", request, &operation));
  return FinishChange(session, operation, start ? "created and started" : "created");
}

Status VmUpdate(Words words) {
  Session session("vm update");
  SpecOptions options;
  std::string name;
  std::string etag;
  OptionParser parser(R"(Examples:
  gemel vm update web --memory 4G
  gemel vm get web -o json | edit | gemel vm update web -f -

Changes what is given. What a running VM cannot take over waits for its next start.)");
  parser.AddOption("NAME", name, "which").Required();
  parser.AddOption("--etag", etag, "only if it is unchanged since it had this one").Value("ETAG");
  AddSpecOptions(parser, options);
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  v1::UpdateVirtualMachineRequest request;
  v1::VirtualMachine& vm = *request.mutable_virtual_machine();
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, Fill(options, session, vm));
  ASSIGN_OR_RETURN(*vm.mutable_name(), session.NameOf("vms", name));
  if (!etag.empty()) vm.set_etag(etag);
  if (paths.empty() && options.file.empty()) {
    return std::unexpected(
        WithHint({Code::kInvalidArgument, "nothing to change"}, "see: gemel vm update --help"));
  }
  // From a file: all of description, labels and spec; what is the server's own is not looked at.
  if (options.file.empty())
    for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
  else
    for (const char* path : {"description", "labels", "spec"})
      request.mutable_update_mask()->add_paths(path);
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("VirtualMachines/Update", request, &operation));
  return FinishChange(session, operation, "updated");
}

}  // namespace gemel::cli
