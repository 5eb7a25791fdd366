// gemel vm: list, get, inspect and the verbs that take nothing but a name.
#include <unistd.h>

#include <functional>

#include "base/clock.h"
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/event_stream.h"
#include "cli/client/operation_wait.h"
#include "cli/report.h"
#include "proto/gemel/v1/virtual_machines.pb.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel vm list
  gemel vm create web --kernel vmlinuz --cpus 2 --memory 2G --start --wait

Virtual machines of a gemeld.

Usage: gemel vm VERB [NAME] [ARGUMENT]...

Verbs:
  list, get        what there is, and what it is doing (--watch)
  create, update   define one, or change it
  delete           forget one; its disks stay
  start, shutdown, stop, reset, pause, resume
  inspect          devices, sandbox and limits as they are in force
  console          its serial console
  top              who uses what
)";

std::int64_t NowSeconds() { return ClockNs(CLOCK_REALTIME) / 1'000'000'000; }

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

Table VmTable() {
  return Table({{"NAME"},
                {"STATE"},
                {"NODE"},
                {"CPUS"},
                {"MEMORY"},
                {"UPTIME"},
                {"REASON", true},
                {"PENDING", true},
                {"PID", true},
                {"RESTARTS", true},
                {"UID", true}});
}

bool HasProcess(v1::VirtualMachineState state) {
  return state == v1::VIRTUAL_MACHINE_STATE_RUNNING || state == v1::VIRTUAL_MACHINE_STATE_PAUSED ||
         state == v1::VIRTUAL_MACHINE_STATE_STOPPING;
}

void AddVm(const Session& session, const v1::VirtualMachine& vm, Table& table) {
  const v1::VirtualMachineStatus& status = vm.status();
  const std::uint64_t memory = vm.spec().memory().size_bytes();
  table.Add({ShortName(session.project(), vm.name()),
             EnumWord(v1::VirtualMachineState_Name(status.state()), "VIRTUAL_MACHINE_STATE_"),
             LastPart(status.node()), fmt::format("{}", std::max(1U, vm.spec().cpu().count())),
             RoughSize(memory == 0 ? std::uint64_t{512} << 20 : memory),
             HasProcess(status.state()) ? Ago(status.start_time(), NowSeconds()) : "",
             status.reason(), Joined(status.pending_changes()),
             status.pid() == 0 ? "" : fmt::format("{}", status.pid()),
             fmt::format("{}", status.restart_count()), vm.uid()});
}

Status ShowVms(const Session& session, const std::vector<v1::VirtualMachine>& vms) {
  Table table = VmTable();
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::VirtualMachine& vm : vms) {
    AddVm(session, vm, table);
    messages.push_back(&vm);
    names.push_back(ShortName(session.project(), vm.name()));
  }
  if (vms.empty() && session.format() == Format::kTable) {
    PrintNote(fmt::format("no VMs in {} (another project: -p NAME; all: -p -)", session.parent()));
    return {};
  }
  return session.Show(messages, names, table);
}

Result<v1::VirtualMachine> GetVm(Session& session, const std::string& name) {
  v1::GetVirtualMachineRequest request;
  request.set_name(name);
  v1::VirtualMachine vm;
  RETURN_IF_ERROR(session.Call("VirtualMachines/Get", request, &vm));
  return vm;
}

Result<std::vector<v1::VirtualMachine>> ListVms(Session& session, const std::string& filter) {
  std::vector<v1::VirtualMachine> vms;
  v1::ListVirtualMachinesRequest request;
  request.set_parent(session.parent());
  request.set_filter(filter);
  request.set_page_size(500);
  do {
    v1::ListVirtualMachinesResponse page;
    RETURN_IF_ERROR(session.Call("VirtualMachines/List", request, &page));
    for (auto& vm : *page.mutable_virtual_machines()) vms.push_back(std::move(vm));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return vms;
}

// A line for each change of a VM of the project, or of one VM.
Status WatchVms(Session& session, const std::string& only, const std::string& token) {
  return FollowEvents(session, token, [&session, &only](const v1::Event& event) -> Status {
    const bool vm_event = event.resource().find("/vms/") != std::string::npos;
    if (!vm_event || (!only.empty() && event.resource() != only)) return {};
    if (event.type() == v1::EVENT_TYPE_DELETED) {
      PrintNote(fmt::format("{}: deleted", ShortName(session.project(), event.resource())));
      return {};
    }
    if (event.type() == v1::EVENT_TYPE_OPERATION_DONE) return {};
    const auto vm = GetVm(session, event.resource());
    if (!vm)
      return vm.error().code == Code::kNotFound ? Status() : Status(std::unexpected(vm.error()));
    if (session.format() == Format::kJson) return Print(ToJson(*vm));
    if (session.format() == Format::kName)
      return Print(ShortName(session.project(), vm->name()) + "\n");
    Table table = VmTable();
    AddVm(session, *vm, table);
    return Print(table.Text(session.format() == Format::kWide, ColourWanted(), false));
  });
}

Status List(Words words) {
  Session session("vm list");
  std::string filter;
  OptionParser parser(R"(Examples:
  gemel vm list
  gemel vm list --filter 'status.state = RUNNING AND labels.app = web' -o wide

Virtual machines of a project (-p - for all that you may see).)");
  parser.AddOption("--filter", filter, "which: FIELD = VALUE AND ...").Value("TEXT");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  std::string token;
  if (session.watch()) {
    ASSIGN_OR_RETURN(token, TokenOfNow(session));
  }
  ASSIGN_OR_RETURN(const auto vms, ListVms(session, filter));
  RETURN_IF_ERROR(ShowVms(session, vms));
  return session.watch() ? WatchVms(session, "", token) : Status();
}

Status Get(Words words) {
  Session session("vm get");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel vm get web
  gemel vm get web -o yaml

One virtual machine.)");
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const std::string full, session.NameOf("vms", name));
  std::string token;
  if (session.watch()) {
    ASSIGN_OR_RETURN(token, TokenOfNow(session));
  }
  ASSIGN_OR_RETURN(const v1::VirtualMachine vm, GetVm(session, full));
  Table table = VmTable();
  AddVm(session, vm, table);
  RETURN_IF_ERROR(session.ShowOne(vm, ShortName(session.project(), vm.name()), table));
  return session.watch() ? WatchVms(session, full, token) : Status();
}

Status Inspect(Words words) {
  Session session("vm inspect");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel vm inspect web
  gemel vm inspect web -o json

Devices, sandbox and limits as they are in force, asked of the machine's process and of the kernel.)");
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  v1::InspectVirtualMachineRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("vms", name));
  v1::VirtualMachineInspection inspection;
  RETURN_IF_ERROR(session.Call("VirtualMachines/Inspect", request, &inspection));
  if (session.format() == Format::kJson) return Print(ToJson(inspection));
  if (session.format() == Format::kName) return Print(name + "\n");
  return session.PrintYaml(inspection);
}

// The verbs that take a name and make an operation.
template <class Request>
Status Act(Words words, const char* verb, const char* help, const char* done,
           std::string_view method, const std::function<void(OptionParser&)>& options = {},
           const std::function<Status(Request&)>& fill = {}) {
  Session session(fmt::format("vm {}", verb));
  std::vector<std::string> names;
  OptionParser parser(help);
  parser.AddOption("NAME", names, "which; several are done one after the other").Required();
  if (options) options(parser);
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  for (const std::string& name : names) {
    Request request;
    ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("vms", name));
    request.set_request_id(names.size() == 1 ? session.request_id() : NewRequestId());
    request.set_validate_only(session.dry_run());
    if (fill) RETURN_IF_ERROR(fill(request));
    v1::Operation operation;
    RETURN_IF_ERROR(session.Call(method, request, &operation));
    RETURN_IF_ERROR(FinishChange(session, operation, done));
  }
  return {};
}

Status Start(Words words) {
  return Act<v1::StartVirtualMachineRequest>(words, "start", R"(Examples:
  gemel vm start web
  gemel vm start web db --wait --timeout 1m

Makes it run.)",
                                             "started", "VirtualMachines/Start");
}

Status Shutdown(Words words) {
  std::string grace;
  bool force = false;
  return Act<v1::ShutdownVirtualMachineRequest>(
      words, "shutdown", R"(Examples:
  gemel vm shutdown web --wait
  gemel vm shutdown web --grace 30s --force

Presses the power button; what the guest does then is its own matter.)",
      "shut down", "VirtualMachines/Shutdown",
      [&](OptionParser& parser) {
        parser.AddOption("--grace", grace, "how long the guest has; else what its spec says")
            .Value("TIME");
        parser.AddFlag("--force", force, "pull the plug then");
      },
      [&](v1::ShutdownVirtualMachineRequest& request) -> Status {
        request.set_force(force);
        if (grace.empty()) return {};
        ASSIGN_OR_RETURN(const std::int64_t ms, ParseDuration("grace", grace));
        request.mutable_timeout()->set_seconds(ms / 1000);
        request.mutable_timeout()->set_nanos(static_cast<int>(ms % 1000 * 1'000'000));
        return {};
      });
}

Status Stop(Words words) {
  return Act<v1::StopVirtualMachineRequest>(words, "stop", R"(Examples:
  gemel vm stop web
  gemel vm stop web --wait

Pulls the plug: data in the guest's caches is lost. Gentler: gemel vm shutdown.)",
                                            "stopped", "VirtualMachines/Stop");
}

Status Reset(Words words) {
  return Act<v1::ResetVirtualMachineRequest>(words, "reset", R"(Examples:
  gemel vm reset web
  gemel vm reset web --wait

Presses the reset button: data in the guest's caches is lost.)",
                                             "reset", "VirtualMachines/Reset");
}

Status Pause(Words words) {
  return Act<v1::PauseVirtualMachineRequest>(words, "pause", R"(Examples:
  gemel vm pause web
  gemel vm pause web --wait

Stops its processors; its memory stays.)",
                                             "paused", "VirtualMachines/Pause");
}

Status Resume(Words words) {
  return Act<v1::ResumeVirtualMachineRequest>(words, "resume", R"(Examples:
  gemel vm resume web
  gemel vm resume web --wait

Goes on after a pause.)",
                                              "resumed", "VirtualMachines/Resume");
}

Status Delete(Words words) {
  bool force = false;
  bool missing = false;
  bool yes = false;
  return Act<v1::DeleteVirtualMachineRequest>(
      words, "delete", R"(Examples:
  gemel vm delete web
  gemel vm delete web --force --yes --wait

Forgets it; its disks stay. One that runs is not deleted without --force.)",
      "deleted", "VirtualMachines/Delete",
      [&](OptionParser& parser) {
        parser.AddFlag("--force", force, "even if it runs: pulls the plug first");
        parser.AddFlag("--if-exists", missing, "one that is not there is well, too");
        parser.AddFlag("--yes,-y", yes, "do not ask");
      },
      [&](v1::DeleteVirtualMachineRequest& request) -> Status {
        request.set_force(force);
        request.set_allow_missing(missing);
        if (request.validate_only()) return {};
        return Confirm(yes,
                       fmt::format("{}: its definition{} will be lost; its disks stay",
                                   LastPart(request.name()), force ? " and what it is doing" : ""));
      });
}

}  // namespace

Noun VmNoun() {
  static constexpr VerbEntry kVerbs[] = {
      {"list", List},         {"get", Get},     {"create", VmCreate},   {"update", VmUpdate},
      {"delete", Delete},     {"start", Start}, {"shutdown", Shutdown}, {"stop", Stop},
      {"reset", Reset},       {"pause", Pause}, {"resume", Resume},     {"inspect", Inspect},
      {"console", VmConsole}, {"top", VmTop}};
  return {"vm", kHelp, kVerbs};
}

}  // namespace gemel::cli
