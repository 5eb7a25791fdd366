#include "cli/run_options.h"

#include <array>
#include <vector>

#include "cli/arguments.h"
#include "cli/report.h"
#include "vmm/config/parse.h"
#include "vmm/config/suggest.h"

namespace gemel::cli {
namespace {

constexpr char kDescription[] =
    R"(Examples:
  gemel run --kernel vmlinuz --initrd initrd.img
  gemel run --kernel vmlinuz --initrd initrd.img --cmdline "console=ttyS0 root=/dev/vda" \
      --disk path=debian.img --memory 1G --cpus 2

Boots a virtual machine in the foreground, its serial console on this terminal.
Ctrl-] ? shows the keys; SIGTERM is the power button, a second one turns it off.
Ends with 0 when the guest powers off, 1 when it or the VMM fails, 2 on wrong input,
3 when the guest's kernel says that it panicked, 124 after --timeout.
)";

// As typed.
struct Words {
  std::string name = "vm";
  std::string machine;
  std::string profile = "server";
  std::string kernel, initrd;
  std::string cmdline = "console=ttyS0";
  std::string memory = "512M";
  std::string cpus = "1";
  std::string cpu = "host";
  std::vector<std::string> disks, nets;
  std::string serial = "stdio";
  std::string on_reboot = "reset";
  std::string acpi = "on";
  std::string uuid;
  std::vector<std::string> smbios;
  std::string rng = "on";
  std::string balloon = "off";
  std::string console = "none";
  std::vector<std::string> channels;
  std::string vsock;
  std::string timeout;
  std::string sandbox = "default";
  std::string log_level = "info";
  bool verbose = false;
};

void AddOptions(OptionParser& parser, Words& words) {
  const auto add = [&parser](const char* name, std::string& word, const char* type,
                             const char* help) {
    OptionParser::Added option = parser.AddOption(name, word, help).Value(type);
    if (!word.empty()) option.Default(word);
  };
  add("--kernel,-k", words.kernel, "FILE", "ELF with a PVH entry, or bzImage (needed)");
  add("--initrd,-i", words.initrd, "FILE", "initial RAM disk");
  add("--cmdline", words.cmdline, "TEXT", "the kernel's command line");
  add("--memory,-m", words.memory, "SIZE[,KEY=on]", "with shared=on, hugepages=on");
  add("--cpus,-c", words.cpus, "N", "1 to 64");
  add("--cpu", words.cpu, "MODEL", "host, or a named model");
  parser
      .AddOption("--disk,-d", words.disks,
                 "raw image or block device, may be repeated; with\n"
                 "readonly=on, serial=TEXT, direct=on,\nengine=auto|io_uring|sync; or "
                 "iscsi://HOST[:PORT]/TARGET/LUN,\n"
                 "with initiator=NAME, password-file=FILE")
      .Value("path=FILE|iscsi=URL[,KEY=VALUE...]")
      .OneValueEach();
  parser
      .AddOption("--net,-n", words.nets,
                 "network, may be repeated; the other end is user (NAT,\n"
                 "with hostfwd=tcp:127.0.0.1:2222-:22, net=, restrict=on),\n"
                 "tap=NAME, macvtap=NAME, socket=PATH or fd=N; with mac=,\n"
                 "mtu=, queues=, vhost=auto|on|off, rx-rate=, tx-rate= …")
      .Value("END[,KEY=VALUE...]")
      .OneValueEach();
  add("--serial", words.serial, "KIND", "stdio, pty, file:PATH, unix:PATH or none");
  add("--on-reboot", words.on_reboot, "WORD", "what a guest's reboot does: reset or exit");
  add("--timeout", words.timeout, "TIME", "turn it off after 90s, 10m, 2h; ends with 124");
  add("--name", words.name, "NAME", "in log lines");
  add("--profile", words.profile, "NAME", "server (PCI Express) or micro (virtio-mmio)");
  add("--machine", words.machine, "TYPE", "versioned machine type: server-1, micro-1");
  add("--uuid", words.uuid, "UUID",
      "the machine's, for the guest; else one made of the\nhost, the name and the first disk of "
      "its own");
  parser
      .AddOption("--smbios", words.smbios, "product=, serial=, asset=: what the guest reads of it")
      .Value("KEY=TEXT[,...]")
      .OneValueEach();
  add("--acpi", words.acpi, "on|off", "off (micro): MP table and virtio_mmio.device= instead");
  add("--rng", words.rng, "on|off", "a virtio-rng device");
  add("--balloon", words.balloon, "on|off|KEY=VALUE...",
      "a memory balloon; with size=SIZE to give\nback at first, "
      "deflate-on-oom=off,\nfree-page-reporting=off");
  add("--console", words.console, "KIND", "a virtio console, hvc0: stdio, unix:PATH or none");
  parser
      .AddOption("--channel", words.channels,
                 "a port for a program in the guest\n(/dev/virtio-ports/NAME), may be repeated")
      .Value("name=NAME,path=SOCKET")
      .OneValueEach();
  add("--vsock", words.vsock, "path=SOCKET[,cid=N]", "sockets between host and guest programs");
  add("--sandbox", words.sandbox, "WORD",
      "default: what this host gives; required: all or\nnothing; off: none");
  add("--log-level", words.log_level, "LEVEL", "debug, info, warning or error");
  parser.AddFlag("--verbose,-v", words.verbose, "as --log-level debug, and show the devices");
}

Result<LogLevel> ParseLogLevel(std::string_view text) {
  static constexpr std::array<std::string_view, 4> kLevels = {"debug", "info", "warning", "error"};
  for (std::size_t i = 0; i < kLevels.size(); ++i)
    if (kLevels[i] == text) return static_cast<LogLevel>(i);
  return InvalidArgument("log-level: {}: unknown; there is {}", text, JoinWords(kLevels));
}

Result<RunOptions> Convert(const Words& words) {
  RunOptions options;
  MachineConfig& config = options.config;
  config.name = words.name;
  config.cpu_model = words.cpu;
  config.boot = {words.kernel, words.initrd, words.cmdline};
  ASSIGN_OR_RETURN(config.profile, ParseProfile(words.profile));
  config.machine = words.machine.empty() ? DefaultMachine(config.profile) : words.machine;
  if (!words.uuid.empty()) {
    ASSIGN_OR_RETURN(config.identity.uuid, ParseUuid(words.uuid));
  }
  for (const std::string& text : words.smbios) RETURN_IF_ERROR(ParseSmbios(text, config.identity));
  ASSIGN_OR_RETURN(config.cpus, ParseNumber("cpus", words.cpus, 1, kMaxCpus));
  ASSIGN_OR_RETURN(config.memory, ParseMemory(words.memory));
  for (const std::string& text : words.disks) {
    ASSIGN_OR_RETURN(DiskConfig disk, ParseDisk(text));
    config.disks.push_back(std::move(disk));
  }
  for (const std::string& text : words.nets) {
    ASSIGN_OR_RETURN(NetConfig net, ParseNet(text));
    config.nets.push_back(std::move(net));
  }
  ASSIGN_OR_RETURN(config.serial, ParseSerial(words.serial));
  ASSIGN_OR_RETURN(config.on_reboot, ParseOnReboot(words.on_reboot));
  ASSIGN_OR_RETURN(config.acpi, ParseOnOff("acpi", words.acpi));
  ASSIGN_OR_RETURN(config.rng, ParseOnOff("rng", words.rng));
  ASSIGN_OR_RETURN(config.balloon, ParseBalloon(words.balloon));
  ASSIGN_OR_RETURN(config.console, ParseConsole(words.console));
  for (const std::string& text : words.channels) {
    ASSIGN_OR_RETURN(ChannelConfig channel, ParseChannel(text));
    config.channels.push_back(std::move(channel));
  }
  if (!words.vsock.empty()) {
    ASSIGN_OR_RETURN(config.vsock, ParseVsock(words.vsock));
  }
  ASSIGN_OR_RETURN(options.sandbox, ParseSandboxMode(words.sandbox));
  ASSIGN_OR_RETURN(options.log_level, ParseLogLevel(words.log_level));
  if (words.verbose) options.log_level = LogLevel::kDebug;
  if (!words.timeout.empty()) {
    ASSIGN_OR_RETURN(options.timeout_ms, ParseDuration("timeout", words.timeout));
  }
  RETURN_IF_ERROR(Validate(config));
  return options;
}

}  // namespace

Result<std::variant<RunOptions, HelpText>> ParseRunOptions(std::span<const std::string> arguments) {
  Words words;
  OptionParser parser(kDescription);
  AddOptions(parser, words);
  ASSIGN_OR_RETURN(std::optional<std::string> help, parser.Parse("gemel run", arguments));
  if (help) return std::variant<RunOptions, HelpText>(HelpText{std::move(*help)});
  ASSIGN_OR_RETURN(RunOptions options, Convert(words));
  return std::variant<RunOptions, HelpText>(std::move(options));
}

}  // namespace gemel::cli
