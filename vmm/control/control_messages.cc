#include "vmm/control/control_messages.h"

#include <utility>

#include "vmm/control/machine_proto.h"

namespace gemel {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

ControlMessage Finish(const google::protobuf::MessageLite& message) {
  ControlMessage out;
  message.SerializeToString(&out.payload);
  return out;
}

// ---- requests: descriptors ----------------------------------------------------------------------

// Moves descriptors into a message and gives back what stands for them in it.
class FdCollector {
 public:
  std::uint32_t Add(UniqueFd fd) {
    if (!fd) return 0;
    fds_.push_back(std::move(fd));
    return static_cast<std::uint32_t>(fds_.size());
  }
  std::vector<UniqueFd> Take() && { return std::move(fds_); }

 private:
  std::vector<UniqueFd> fds_;
};

// Hands out each descriptor of a message once.
class FdDistributor {
 public:
  explicit FdDistributor(std::vector<UniqueFd> fds) : fds_(std::move(fds)) {}

  // 0 gives an empty UniqueFd.
  Result<UniqueFd> Take(std::uint32_t reference, std::string_view what) {
    if (reference == 0) return UniqueFd();
    if (reference > fds_.size() || !fds_[reference - 1])
      return InvalidArgument("control: {}: no descriptor {}", what, reference);
    return std::move(fds_[reference - 1]);
  }
  bool AnyLeft() const {
    for (const UniqueFd& fd : fds_)
      if (fd) return true;
    return false;
  }

 private:
  std::vector<UniqueFd> fds_;
};

Status RequirePresence(const UniqueFd& fd, bool wanted, std::string_view what) {
  if (static_cast<bool>(fd) == wanted) return {};
  return InvalidArgument("control: {}: {}", what,
                         wanted ? "its descriptor is missing" : "a descriptor that nothing uses");
}

Status CheckFds(const ConfigureRequest& request) {
  using Kind = SerialConfig::Kind;
  const Kind serial = request.config.serial.kind;
  RETURN_IF_ERROR(RequirePresence(request.kvm, true, "kvm"));
  RETURN_IF_ERROR(RequirePresence(request.kernel, true, "kernel"));
  RETURN_IF_ERROR(RequirePresence(request.initrd, !request.config.boot.initrd.empty(), "initrd"));
  for (const UniqueFd& disk : request.disks) RETURN_IF_ERROR(RequirePresence(disk, true, "disk"));
  for (const UniqueFd& lock : request.locks)
    RETURN_IF_ERROR(RequirePresence(lock, true, "disk's lock"));
  const bool vsock = request.config.vsock.has_value();
  RETURN_IF_ERROR(RequirePresence(request.vsock_listener, vsock, "vsock"));
  RETURN_IF_ERROR(RequirePresence(request.vsock_dialer, vsock, "vsock dialer"));
  using Console = ConsoleConfig::Kind;
  const Console console = request.config.console.kind;
  RETURN_IF_ERROR(RequirePresence(request.console_in, console != Console::kNone, "console input"));
  RETURN_IF_ERROR(
      RequirePresence(request.console_out, console == Console::kStdio, "console output"));
  for (const UniqueFd& fd : request.channels) RETURN_IF_ERROR(RequirePresence(fd, true, "channel"));
  const bool input = serial != Kind::kFile && serial != Kind::kNone;
  RETURN_IF_ERROR(RequirePresence(request.serial_in, input, "serial input"));
  if (serial == Kind::kHub) return {};  // it may have an output, to be kept
  return RequirePresence(request.serial_out,
                         serial == Kind::kStdio || serial == Kind::kPty || serial == Kind::kFile,
                         "serial output");
}

void EncodeNetFds(NetFds net, internal::NetFds* out, FdCollector& fds) {
  for (UniqueFd& fd : net.queues) out->add_queue_fds(fds.Add(std::move(fd)));
  for (UniqueFd& fd : net.vhost) out->add_vhost_fds(fds.Add(std::move(fd)));
  for (UniqueFd& fd : net.counters) out->add_counter_fds(fds.Add(std::move(fd)));
}

Status TakeAll(const google::protobuf::RepeatedField<std::uint32_t>& references,
               std::string_view what, FdDistributor& fds, std::vector<UniqueFd>& taken) {
  for (const std::uint32_t reference : references) {
    ASSIGN_OR_RETURN(UniqueFd fd, fds.Take(reference, what));
    RETURN_IF_ERROR(RequirePresence(fd, true, what));
    taken.push_back(std::move(fd));
  }
  return {};
}

Result<NetFds> DecodeNetFds(const internal::NetFds& in, std::uint32_t queues, FdDistributor& fds) {
  NetFds net;
  RETURN_IF_ERROR(TakeAll(in.queue_fds(), "net", fds, net.queues));
  RETURN_IF_ERROR(TakeAll(in.vhost_fds(), "vhost", fds, net.vhost));
  RETURN_IF_ERROR(TakeAll(in.counter_fds(), "net counters", fds, net.counters));
  if (net.queues.size() != queues || (!net.vhost.empty() && net.vhost.size() != queues))
    return InvalidArgument("control: net: {} and {} descriptors for {} queues", net.queues.size(),
                           net.vhost.size(), queues);
  return net;
}

void EncodeFence(cluster::FenceGrant grant, internal::Fence* out, FdCollector& fds) {
  out->set_page_fd(fds.Add(std::move(grant.page)));
  out->set_session_incarnation(grant.session.incarnation);
  out->set_session_number(grant.session.number);
  out->set_epoch_incarnation(grant.epoch.incarnation);
  out->set_epoch_counter(grant.epoch.counter);
  out->set_initiator(std::move(grant.initiator));
  out->set_key(grant.key);
}

Result<cluster::FenceGrant> DecodeFence(const internal::Fence& in, FdDistributor& fds) {
  cluster::FenceGrant grant;
  ASSIGN_OR_RETURN(grant.page, fds.Take(in.page_fd(), "fence"));
  RETURN_IF_ERROR(RequirePresence(grant.page, true, "fence"));
  grant.session = {in.session_incarnation(), in.session_number()};
  grant.epoch = {in.epoch_incarnation(), in.epoch_counter()};
  grant.initiator = in.initiator();
  grant.key = in.key();
  return grant;
}

void EncodeConfigure(ConfigureRequest request, internal::Configure* out, FdCollector& fds) {
  MachineToProto(request.config, out->mutable_machine());
  out->set_kvm_fd(fds.Add(std::move(request.kvm)));
  out->set_kernel_fd(fds.Add(std::move(request.kernel)));
  out->set_initrd_fd(fds.Add(std::move(request.initrd)));
  for (UniqueFd& disk : request.disks) out->add_disk_fds(fds.Add(std::move(disk)));
  for (UniqueFd& lock : request.locks) out->add_lock_fds(fds.Add(std::move(lock)));
  for (NetFds& net : request.nets) EncodeNetFds(std::move(net), out->add_net_fds(), fds);
  out->set_vsock_listener_fd(fds.Add(std::move(request.vsock_listener)));
  out->set_vsock_dialer_fd(fds.Add(std::move(request.vsock_dialer)));
  out->set_console_in_fd(fds.Add(std::move(request.console_in)));
  out->set_console_out_fd(fds.Add(std::move(request.console_out)));
  for (UniqueFd& fd : request.channels) out->add_channel_fds(fds.Add(std::move(fd)));
  out->set_serial_in_fd(fds.Add(std::move(request.serial_in)));
  out->set_serial_out_fd(fds.Add(std::move(request.serial_out)));
  if (request.fence) EncodeFence(std::move(*request.fence), out->mutable_fence(), fds);
  out->set_log_level(EnumToProto<internal::LogLevel>(request.log_level));
}

Result<ConfigureRequest> DecodeConfigure(const internal::Configure& in, FdDistributor& fds) {
  ConfigureRequest request;
  ASSIGN_OR_RETURN(request.config, MachineFromProto(in.machine()));
  ASSIGN_OR_RETURN(request.kvm, fds.Take(in.kvm_fd(), "kvm"));
  ASSIGN_OR_RETURN(request.kernel, fds.Take(in.kernel_fd(), "kernel"));
  ASSIGN_OR_RETURN(request.initrd, fds.Take(in.initrd_fd(), "initrd"));
  if (static_cast<std::size_t>(in.disk_fds_size()) != request.config.disks.size())
    return InvalidArgument("control: {} disks with {} descriptors", request.config.disks.size(),
                           in.disk_fds_size());
  for (const std::uint32_t reference : in.disk_fds()) {
    ASSIGN_OR_RETURN(UniqueFd disk, fds.Take(reference, "disk"));
    request.disks.push_back(std::move(disk));
  }
  if (static_cast<std::size_t>(in.lock_fds_size()) > request.config.disks.size())
    return InvalidArgument("control: {} disks with {} locks", request.config.disks.size(),
                           in.lock_fds_size());
  for (const std::uint32_t reference : in.lock_fds()) {
    ASSIGN_OR_RETURN(UniqueFd lock, fds.Take(reference, "disk's lock"));
    request.locks.push_back(std::move(lock));
  }
  if (static_cast<std::size_t>(in.net_fds_size()) != request.config.nets.size())
    return InvalidArgument("control: {} networks with descriptors of {}",
                           request.config.nets.size(), in.net_fds_size());
  for (int i = 0; i < in.net_fds_size(); ++i) {
    const std::uint32_t queues = request.config.nets[static_cast<std::size_t>(i)].queues;
    ASSIGN_OR_RETURN(NetFds net, DecodeNetFds(in.net_fds(i), queues, fds));
    request.nets.push_back(std::move(net));
  }
  ASSIGN_OR_RETURN(request.vsock_listener, fds.Take(in.vsock_listener_fd(), "vsock"));
  ASSIGN_OR_RETURN(request.vsock_dialer, fds.Take(in.vsock_dialer_fd(), "vsock dialer"));
  ASSIGN_OR_RETURN(request.console_in, fds.Take(in.console_in_fd(), "console input"));
  ASSIGN_OR_RETURN(request.console_out, fds.Take(in.console_out_fd(), "console output"));
  if (static_cast<std::size_t>(in.channel_fds_size()) != request.config.channels.size())
    return InvalidArgument("control: {} channels with {} descriptors",
                           request.config.channels.size(), in.channel_fds_size());
  for (const std::uint32_t reference : in.channel_fds()) {
    ASSIGN_OR_RETURN(UniqueFd fd, fds.Take(reference, "channel"));
    request.channels.push_back(std::move(fd));
  }
  ASSIGN_OR_RETURN(request.serial_in, fds.Take(in.serial_in_fd(), "serial input"));
  ASSIGN_OR_RETURN(request.serial_out, fds.Take(in.serial_out_fd(), "serial output"));
  if (in.has_fence()) {
    ASSIGN_OR_RETURN(request.fence, DecodeFence(in.fence(), fds));
  }
  ASSIGN_OR_RETURN(request.log_level, EnumFromProto(in.log_level(), LogLevel::kError, "log-level"));
  RETURN_IF_ERROR(CheckFds(request));
  return request;
}

Result<ControlRequestBody> DecodeBody(const internal::ToVmm& in, FdDistributor& fds) {
  using Case = internal::ToVmm::RequestCase;
  switch (in.request_case()) {
    case Case::kConfigure: {
      ASSIGN_OR_RETURN(ConfigureRequest configure, DecodeConfigure(in.configure(), fds));
      return ControlRequestBody(std::move(configure));
    }
    case Case::kStart:
      return ControlRequestBody(StartRequest{});
    case Case::kPowerButton:
      return ControlRequestBody(PowerButtonRequest{});
    case Case::kSleepButton:
      return ControlRequestBody(SleepButtonRequest{});
    case Case::kPowerOff:
      return ControlRequestBody(PowerOffRequest{});
    case Case::kPause:
      return ControlRequestBody(PauseRequest{});
    case Case::kResume:
      return ControlRequestBody(ResumeRequest{});
    case Case::kReset:
      return ControlRequestBody(ResetRequest{});
    case Case::kGetInfo:
      return ControlRequestBody(GetInfoRequest{});
    case Case::kSetLink:
      return ControlRequestBody(SetLinkRequest{in.set_link().device(), in.set_link().up()});
    case Case::kSetBalloon:
      return ControlRequestBody(SetBalloonRequest{in.set_balloon().size()});
    case Case::kResumeUnder: {
      ASSIGN_OR_RETURN(cluster::FenceGrant grant, DecodeFence(in.resume_under().fence(), fds));
      return ControlRequestBody(ResumeUnderRequest{std::move(grant)});
    }
    case Case::REQUEST_NOT_SET:
      break;
  }
  return MakeError(Code::kUnimplemented, "control: a request that this gemel-vmm does not know");
}

// ---- replies and events -------------------------------------------------------------------------

static_assert(static_cast<int>(LogLevel::kError) + 1 == internal::LOG_LEVEL_ERROR);
static_assert(static_cast<int>(VmState::kStopped) + 1 == internal::VM_STATE_STOPPED);

void BalloonToProto(const BalloonInfo& balloon, internal::BalloonInfo* out) {
  out->set_target(balloon.target);
  out->set_actual(balloon.actual);
  out->set_reported(balloon.reported);
  out->set_statistics_age_ms(balloon.statistics_age_ms);
  for (const auto& [tag, value] : balloon.statistics) {
    internal::BalloonStatistic* statistic = out->add_statistics();
    statistic->set_tag(tag);
    statistic->set_value(value);
  }
}

BalloonInfo BalloonFromProto(const internal::BalloonInfo& in) {
  BalloonInfo balloon;
  balloon.target = in.target();
  balloon.actual = in.actual();
  balloon.reported = in.reported();
  balloon.statistics_age_ms = in.statistics_age_ms();
  for (const internal::BalloonStatistic& statistic : in.statistics())
    balloon.statistics[statistic.tag()] = statistic.value();
  return balloon;
}

void FenceToProto(const FenceState& fence, internal::FenceState* out) {
  out->set_session_incarnation(fence.session.incarnation);
  out->set_session_number(fence.session.number);
  out->set_epoch_incarnation(fence.epoch.incarnation);
  out->set_epoch_counter(fence.epoch.counter);
  out->set_latched(fence.latched);
  out->set_conflicted(fence.conflicted);
  out->set_in_flight(fence.in_flight);
}

FenceState FenceFromProto(const internal::FenceState& in) {
  return {{in.session_incarnation(), in.session_number()},
          {in.epoch_incarnation(), in.epoch_counter()},
          in.latched(),
          in.conflicted(),
          in.in_flight()};
}

void InfoToProto(const VmInfo& info, internal::Info* out) {
  out->set_state(EnumToProto<internal::VmState>(info.state));
  out->set_cpus(info.cpus);
  out->set_memory(info.memory);
  for (const DeviceInfo& device : info.devices) {
    internal::DeviceInfo* d = out->add_devices();
    d->set_name(device.name);
    d->set_kind(device.kind);
    d->set_address(device.address);
    d->set_irq(device.irq);
    d->set_queues(device.queues);
    d->set_queue_size(device.queue_size);
    d->set_engine(device.engine);
    d->set_note(device.note);
    for (const auto& [name, value] : device.counters) {
      internal::Counter* counter = d->add_counters();
      counter->set_name(name);
      counter->set_value(value);
    }
    d->set_place(device.place);
  }
  for (const std::string& note : info.notes) out->add_notes(note);
  out->set_sandbox_mode(EnumToProto<internal::SandboxMode>(info.sandbox_mode));
  for (const SandboxLayer& layer : info.sandbox) {
    internal::SandboxLayer* l = out->add_sandbox();
    l->set_name(layer.name);
    l->set_active(layer.active);
    l->set_note(layer.note);
  }
  if (info.balloon) BalloonToProto(*info.balloon, out->mutable_balloon());
  if (info.fence) FenceToProto(*info.fence, out->mutable_fence());
  out->set_resets(info.resets);
  for (const VcpuInfo& vcpu : info.vcpus) {
    internal::Vcpu* v = out->add_vcpus();
    v->set_cpu_ns(vcpu.cpu_ns);
    for (const auto& [name, value] : vcpu.exits) {
      internal::Counter* counter = v->add_exits();
      counter->set_name(name);
      counter->set_value(value);
    }
  }
}

Result<VmInfo> InfoFromProto(const internal::Info& in) {
  VmInfo info;
  ASSIGN_OR_RETURN(info.state, EnumFromProto(in.state(), VmState::kStopped, "info: state"));
  info.cpus = in.cpus();
  info.memory = in.memory();
  for (const internal::DeviceInfo& d : in.devices()) {
    DeviceInfo& device = info.devices.emplace_back(DeviceInfo{d.name(),
                                                              d.kind(),
                                                              d.address(),
                                                              d.irq(),
                                                              d.queues(),
                                                              d.queue_size(),
                                                              d.engine(),
                                                              d.note(),
                                                              {},
                                                              d.place()});
    for (const internal::Counter& c : d.counters())
      device.counters.emplace_back(c.name(), c.value());
  }
  for (const std::string& note : in.notes()) info.notes.push_back(note);
  ASSIGN_OR_RETURN(info.sandbox_mode,
                   EnumFromProto(in.sandbox_mode(), SandboxMode::kOff, "info: sandbox"));
  for (const internal::SandboxLayer& l : in.sandbox())
    info.sandbox.push_back({l.name(), l.active(), l.note()});
  if (in.has_balloon()) info.balloon = BalloonFromProto(in.balloon());
  if (in.has_fence()) info.fence = FenceFromProto(in.fence());
  info.resets = in.resets();
  for (const internal::Vcpu& v : in.vcpus()) {
    VcpuInfo& vcpu = info.vcpus.emplace_back();
    vcpu.cpu_ns = v.cpu_ns();
    for (const internal::Counter& c : v.exits()) vcpu.exits.emplace_back(c.name(), c.value());
  }
  return info;
}

Result<ControlReply> ReplyFromProto(const internal::Reply& in) {
  if (in.code() > static_cast<std::uint32_t>(Code::kUnauthenticated))
    return InvalidArgument("control: reply: unknown code {}", in.code());
  ControlReply reply{in.id(), Error{static_cast<Code>(in.code()), in.message()}, std::nullopt};
  if (in.has_info()) {
    ASSIGN_OR_RETURN(reply.info, InfoFromProto(in.info()));
  }
  return reply;
}

CrashedEvent::Kind CrashKind(const internal::Crashed& in) {
  if (in.panic()) return CrashedEvent::Kind::kPanic;
  return in.triple_fault() ? CrashedEvent::Kind::kTripleFault : CrashedEvent::Kind::kMachine;
}

ControlEvent EventFromProto(const internal::Event& in) {
  using Case = internal::Event::EventCase;
  switch (in.event_case()) {
    case Case::kHello:
      return HelloEvent{in.hello().version(), in.hello().build(), in.hello().pid()};
    case Case::kRunning:
      return RunningEvent{};
    case Case::kPoweredOff:
      return PoweredOffEvent{};
    case Case::kRebootRequested:
      return RebootRequestedEvent{};
    case Case::kResetDone:
      return ResetDoneEvent{};
    case Case::kCrashed:
      return CrashedEvent{in.crashed().reason(), in.crashed().report(), CrashKind(in.crashed())};
    case Case::kSerialInfo:
      return SerialInfoEvent{in.serial_info().path()};
    case Case::kDiskError:
      return DiskErrorEvent{in.disk_error().device(), in.disk_error().reason(),
                            in.disk_error().count()};
    case Case::kLatched:
      return LatchedEvent{FenceFromProto(in.latched())};
    case Case::EVENT_NOT_SET:
      break;
  }
  return UnknownEvent{};
}

}  // namespace

ControlMessage EncodeRequest(ControlRequest request) {
  internal::ToVmm out;
  FdCollector fds;
  out.set_id(request.id);
  std::visit(
      Overloaded{
          [&](ConfigureRequest& r) { EncodeConfigure(std::move(r), out.mutable_configure(), fds); },
          [&](StartRequest&) { out.mutable_start(); },
          [&](PowerButtonRequest&) { out.mutable_power_button(); },
          [&](SleepButtonRequest&) { out.mutable_sleep_button(); },
          [&](PowerOffRequest&) { out.mutable_power_off(); },
          [&](PauseRequest&) { out.mutable_pause(); },
          [&](ResumeRequest&) { out.mutable_resume(); },
          [&](ResetRequest&) { out.mutable_reset(); },
          [&](GetInfoRequest&) { out.mutable_get_info(); },
          [&](SetLinkRequest& r) {
            out.mutable_set_link()->set_device(r.device);
            out.mutable_set_link()->set_up(r.up);
          },
          [&](ResumeUnderRequest& r) {
            EncodeFence(std::move(r.fence), out.mutable_resume_under()->mutable_fence(), fds);
          },
          [&](SetBalloonRequest& r) { out.mutable_set_balloon()->set_size(r.size); },
          [](RejectedRequest&) {},  // nothing set: the receiver rejects it too
      },
      request.body);
  ControlMessage message = Finish(out);
  message.fds = std::move(fds).Take();
  return message;
}

ControlMessage EncodeReply(const ControlReply& reply) {
  internal::FromVmm out;
  internal::Reply* r = out.mutable_reply();
  r->set_id(reply.id);
  r->set_code(static_cast<std::uint32_t>(reply.error.code));
  r->set_message(reply.error.message);
  if (reply.info) InfoToProto(*reply.info, r->mutable_info());
  return Finish(out);
}

ControlMessage EncodeEvent(const ControlEvent& event) {
  internal::FromVmm out;
  internal::Event* e = out.mutable_event();
  std::visit(
      Overloaded{
          [&](const HelloEvent& h) {
            e->mutable_hello()->set_version(h.version);
            e->mutable_hello()->set_build(h.build);
            e->mutable_hello()->set_pid(h.pid);
          },
          [&](const RunningEvent&) { e->mutable_running(); },
          [&](const PoweredOffEvent&) { e->mutable_powered_off(); },
          [&](const RebootRequestedEvent&) { e->mutable_reboot_requested(); },
          [&](const ResetDoneEvent&) { e->mutable_reset_done(); },
          [&](const CrashedEvent& c) {
            e->mutable_crashed()->set_reason(c.reason);
            e->mutable_crashed()->set_report(c.report);
            e->mutable_crashed()->set_panic(c.kind == CrashedEvent::Kind::kPanic);
            e->mutable_crashed()->set_triple_fault(c.kind == CrashedEvent::Kind::kTripleFault);
          },
          [&](const SerialInfoEvent& s) { e->mutable_serial_info()->set_path(s.path); },
          [&](const DiskErrorEvent& d) {
            e->mutable_disk_error()->set_device(d.device);
            e->mutable_disk_error()->set_reason(d.reason);
            e->mutable_disk_error()->set_count(d.count);
          },
          [&](const LatchedEvent& l) { FenceToProto(l.fence, e->mutable_latched()); },
          [](const UnknownEvent&) {},
      },
      event);
  return Finish(out);
}

Result<ControlRequest> DecodeRequest(ControlMessage message) {
  internal::ToVmm in;
  if (!in.ParseFromString(message.payload))
    return InvalidArgument("control: {} bytes that are not a request", message.payload.size());
  FdDistributor fds(std::move(message.fds));
  ControlRequest request{in.id(), {}};
  Result<ControlRequestBody> body = DecodeBody(in, fds);
  if (body && fds.AnyLeft()) body = InvalidArgument("control: a descriptor that nothing uses");
  if (body)
    request.body = std::move(*body);
  else
    request.body = RejectedRequest{std::move(body).error()};
  return request;
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): descriptors that came along end here.
Result<FromVmm> DecodeFromVmm(ControlMessage message) {
  internal::FromVmm in;
  if (!in.ParseFromString(message.payload))
    return InvalidArgument("control: {} bytes that are neither reply nor event",
                           message.payload.size());
  if (!message.fds.empty()) return InvalidArgument("control: a descriptor that nothing uses");
  // In place: g++ 12 takes the moves of a temporary variant for uses of what is not initialized.
  if (in.has_reply()) {
    ASSIGN_OR_RETURN(ControlReply reply, ReplyFromProto(in.reply()));
    return Result<FromVmm>(std::in_place, std::in_place_type<ControlReply>, std::move(reply));
  }
  return Result<FromVmm>(std::in_place, std::in_place_type<ControlEvent>,
                         EventFromProto(in.event()));  // no event: an unknown one
}

}  // namespace gemel
