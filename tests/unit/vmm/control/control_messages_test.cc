#include "vmm/control/control_messages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "vmm/control/machine_proto.h"

namespace gemel {
namespace {

UniqueFd AnyFd() { return UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)); }

// No field has its default.
MachineConfig FullConfig() {
  MachineConfig config;
  config.name = "web-1";
  config.machine = "micro-1";
  config.profile = Profile::kMicro;
  config.cpus = 7;
  config.cpu_model = "x86-64-v3";
  config.memory = {768ull << 20, true, true};
  config.boot = {"/k\xffzz", "/initrd", "console=ttyS0 \xfe"};
  config.acpi = false;
  config.disks = {{"/x\xff,b", true, "SER 1", true, IoEngine::kIoUring, 4096},
                  {"iscsi://san:99/iqn.x/3", false, ""}};
  config.disks[1].iscsi =
      IscsiConfig{"san", 99, "iqn.x", 3, "iqn.me", "user", "word", "", 5, 6, true};
  NetConfig tap;
  tap.kind = NetConfig::Kind::kTap;
  tap.name = "tap7";
  tap.mac = MacAddress{2, 3, 4, 5, 6, 7};
  tap.mtu = 9000;
  tap.queues = 2;
  tap.vhost = VhostMode::kOff;
  tap.rx = {1, 2, 3, 4};
  tap.tx = {5, 6, 7, 8};
  NetConfig user;
  user.user.forwards = {{true, "127.0.0.2", 53, "10.1.0.9", 5353}};
  user.user.net = "10.1.0.0/16";
  user.user.restricted = true;
  NetConfig other;
  other.kind = NetConfig::Kind::kFd;
  other.fds = {9};
  NetConfig socket;
  socket.kind = NetConfig::Kind::kSocket;
  socket.path = "/run/\xff";
  config.nets = {tap, user, other, socket};
  config.identity.uuid[3] = 7;
  config.rng = false;
  config.balloon = {64ull << 20, false, false};
  config.console = {ConsoleConfig::Kind::kUnix, "/run/c\xff"};
  config.channels = {{"org.gemel.agent.0", "/run/a"}, {"b", "/run/b"}};
  config.vsock = {77, "/run/\xff"};
  config.serial = {SerialConfig::Kind::kFile, "/log"};
  config.on_reboot = OnReboot::kExit;
  return config;
}

ConfigureRequest FullConfigure() {
  ConfigureRequest request;
  request.config = FullConfig();
  request.kvm = AnyFd();
  request.kernel = AnyFd();
  request.initrd = AnyFd();
  request.disks.push_back(AnyFd());
  request.disks.push_back(AnyFd());
  request.locks.push_back(AnyFd());
  request.locks.push_back(AnyFd());
  for (const NetConfig& net : request.config.nets) {
    NetFds& fds = request.nets.emplace_back();
    for (std::uint32_t i = 0; i < net.queues; ++i) fds.queues.push_back(AnyFd());
  }
  request.nets[0].vhost.push_back(AnyFd());
  request.nets[0].vhost.push_back(AnyFd());
  request.nets[0].counters.push_back(AnyFd());
  request.console_in = AnyFd();
  request.channels.push_back(AnyFd());
  request.channels.push_back(AnyFd());
  request.vsock_listener = AnyFd();
  request.vsock_dialer = AnyFd();
  request.serial_out = AnyFd();
  request.fence.emplace(AnyFd(), cluster::SessionId{1, 2}, cluster::Epoch{3, 4});
  request.log_level = LogLevel::kDebug;
  return request;
}

template <class Body>
ControlRequest RoundTrip(Body body) {
  auto decoded = DecodeRequest(EncodeRequest({42, std::move(body)}));
  EXPECT_TRUE(decoded);
  EXPECT_EQ(decoded->id, 42u);
  return std::move(*decoded);
}

std::string RejectionOf(const ControlMessage& message) {
  ControlMessage copy{message.payload, {}};
  for (const UniqueFd& fd : message.fds) copy.fds.emplace_back(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  auto decoded = DecodeRequest(std::move(copy));
  if (!decoded) return "no request at all";
  const auto* rejected = std::get_if<RejectedRequest>(&decoded->body);
  return rejected == nullptr ? "accepted" : rejected->error.message;
}

std::string RejectionOf(ConfigureRequest request) {
  return RejectionOf(EncodeRequest({1, std::move(request)}));
}

TEST(ControlMessages, Configure_KeepsEveryField) {
  const MachineConfig config = FullConfig();
  const ControlRequest request = RoundTrip(FullConfigure());
  const auto* configure = std::get_if<ConfigureRequest>(&request.body);
  ASSERT_NE(configure, nullptr);
  EXPECT_EQ(configure->config, config);
  EXPECT_EQ(configure->log_level, LogLevel::kDebug);
  EXPECT_TRUE(configure->kvm && configure->kernel && configure->initrd && configure->serial_out);
  EXPECT_FALSE(configure->serial_in);
  EXPECT_EQ(configure->disks.size(), 2u);
  EXPECT_EQ(configure->locks.size(), 2u);
  ASSERT_EQ(configure->nets.size(), 4u);
  EXPECT_EQ(configure->nets[0].queues.size(), 2u);
  EXPECT_EQ(configure->nets[0].vhost.size(), 2u);
  EXPECT_EQ(configure->nets[0].counters.size(), 1u);
  EXPECT_EQ(configure->nets[1].queues.size(), 1u);
  EXPECT_TRUE(configure->nets[1].vhost.empty());
  ASSERT_TRUE(configure->fence);
  EXPECT_TRUE(configure->fence->page);
  EXPECT_EQ(configure->fence->session, (cluster::SessionId{1, 2}));
  EXPECT_EQ(configure->fence->epoch, (cluster::Epoch{3, 4}));
}

TEST(ControlMessages, ResumeUnder_KeepsEveryField) {
  const ControlRequest request = RoundTrip(
      ResumeUnderRequest{{AnyFd(), cluster::SessionId{1, 2}, cluster::Epoch{3, 4}, "iqn.x:n1", 5}});
  const auto* resume = std::get_if<ResumeUnderRequest>(&request.body);
  ASSERT_NE(resume, nullptr);
  EXPECT_TRUE(resume->fence.page);
  EXPECT_EQ(resume->fence.session, (cluster::SessionId{1, 2}));
  EXPECT_EQ(resume->fence.epoch, (cluster::Epoch{3, 4}));
  EXPECT_EQ(resume->fence.initiator, "iqn.x:n1");
  EXPECT_EQ(resume->fence.key, 5u);
}

TEST(ControlMessages, FenceWithoutAPage_Rejected) {
  ConfigureRequest configure = FullConfigure();
  configure.fence->page.Reset();
  EXPECT_EQ(RejectionOf(std::move(configure)), "control: fence: its descriptor is missing");
  EXPECT_EQ(RejectionOf(EncodeRequest({1, ResumeUnderRequest{}})),
            "control: fence: its descriptor is missing");
}

TEST(ControlMessages, DefaultConfig_SurvivesToo) {
  ConfigureRequest in;
  in.config.boot.kernel = "k";
  in.kvm = AnyFd();
  in.kernel = AnyFd();
  in.serial_in = AnyFd();
  in.serial_out = AnyFd();
  const MachineConfig config = in.config;
  const ControlRequest request = RoundTrip(std::move(in));
  ASSERT_TRUE(std::holds_alternative<ConfigureRequest>(request.body));
  EXPECT_EQ(std::get<ConfigureRequest>(request.body).config, config);
}

TEST(ControlMessages, EachDescriptorComesBackInItsPlace) {
  ConfigureRequest in = FullConfigure();
  char path[] = "/tmp/control-test-XXXXXX";
  in.disks[1].Reset(mkostemp(path, O_CLOEXEC));
  ASSERT_EQ(unlink(path), 0);
  ASSERT_EQ(ftruncate(in.disks[1].get(), 12345), 0);
  const ControlRequest request = RoundTrip(std::move(in));
  const auto& configure = std::get<ConfigureRequest>(request.body);
  EXPECT_EQ(lseek(configure.disks[1].get(), 0, SEEK_END), 12345);
}

TEST(ControlMessages, BareRequests_KeepTheirKind) {
  EXPECT_TRUE(std::holds_alternative<StartRequest>(RoundTrip(StartRequest{}).body));
  EXPECT_TRUE(std::holds_alternative<PowerButtonRequest>(RoundTrip(PowerButtonRequest{}).body));
  EXPECT_TRUE(std::holds_alternative<SleepButtonRequest>(RoundTrip(SleepButtonRequest{}).body));
  EXPECT_TRUE(std::holds_alternative<PowerOffRequest>(RoundTrip(PowerOffRequest{}).body));
  EXPECT_TRUE(std::holds_alternative<PauseRequest>(RoundTrip(PauseRequest{}).body));
  EXPECT_TRUE(std::holds_alternative<ResumeRequest>(RoundTrip(ResumeRequest{}).body));
  EXPECT_TRUE(std::holds_alternative<ResetRequest>(RoundTrip(ResetRequest{}).body));
  EXPECT_TRUE(std::holds_alternative<GetInfoRequest>(RoundTrip(GetInfoRequest{}).body));
}

TEST(ControlMessages, SetBalloon_KeepsItsSize) {
  const ControlRequest request = RoundTrip(SetBalloonRequest{1ull << 40});
  ASSERT_TRUE(std::holds_alternative<SetBalloonRequest>(request.body));
  EXPECT_EQ(std::get<SetBalloonRequest>(request.body).size, 1ull << 40);
}

TEST(ControlMessages, NoBytes_UnimplementedRequest) {
  auto decoded = DecodeRequest({});
  ASSERT_TRUE(decoded);
  ASSERT_TRUE(std::holds_alternative<RejectedRequest>(decoded->body));
  EXPECT_EQ(std::get<RejectedRequest>(decoded->body).error.code, Code::kUnimplemented);
}

TEST(ControlMessages, NewerRequest_UnimplementedWithItsId) {
  // id = 7, then field 39 (length-delimited, empty).
  auto decoded = DecodeRequest({std::string("\x08\x07\xba\x02\x00", 5), {}});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->id, 7u);
  EXPECT_EQ(std::get<RejectedRequest>(decoded->body).error.code, Code::kUnimplemented);
}

TEST(ControlMessages, Garbage_Refused) {
  EXPECT_FALSE(DecodeRequest({"\xff\xff\xff", {}}));
  EXPECT_FALSE(DecodeFromVmm({"\xff\xff\xff", {}}));
}

TEST(ControlMessages, BadConfig_RejectedByValidate) {
  ConfigureRequest request = FullConfigure();
  request.config.cpus = 65;
  EXPECT_EQ(RejectionOf(std::move(request)), "cpus: 65: not from 1 to 64");
}

TEST(ControlMessages, MissingDescriptor_Rejected) {
  ConfigureRequest request = FullConfigure();
  request.kernel.Reset();
  EXPECT_EQ(RejectionOf(std::move(request)), "control: kernel: its descriptor is missing");
}

TEST(ControlMessages, MissingDisk_Rejected) {
  ConfigureRequest request = FullConfigure();
  request.disks.pop_back();
  EXPECT_EQ(RejectionOf(std::move(request)), "control: 2 disks with 1 descriptors");
  request = FullConfigure();
  request.locks.push_back(AnyFd());
  EXPECT_EQ(RejectionOf(std::move(request)), "control: 2 disks with 3 locks");
  request = FullConfigure();
  request.nets[0].queues.pop_back();
  EXPECT_EQ(RejectionOf(std::move(request)), "control: net: 1 and 2 descriptors for 2 queues");
  request = FullConfigure();
  request.nets.pop_back();
  EXPECT_EQ(RejectionOf(std::move(request)), "control: 4 networks with descriptors of 3");
}

TEST(ControlMessages, UnwantedSerialInput_Rejected) {
  ConfigureRequest request = FullConfigure();
  request.serial_in = AnyFd();
  EXPECT_EQ(RejectionOf(std::move(request)),
            "control: serial input: a descriptor that nothing uses");
}

TEST(ControlMessages, SurplusDescriptor_Rejected) {
  ControlMessage message = EncodeRequest({1, FullConfigure()});
  message.fds.push_back(AnyFd());
  EXPECT_EQ(RejectionOf(message), "control: a descriptor that nothing uses");
}

TEST(ControlMessages, DescriptorBesideBareRequest_Rejected) {
  ControlMessage message = EncodeRequest({1, StartRequest{}});
  message.fds.push_back(AnyFd());
  EXPECT_EQ(RejectionOf(message), "control: a descriptor that nothing uses");
}

class ProtoBend : public testing::Test {
 protected:
  ProtoBend() : message_(EncodeRequest({1, FullConfigure()})) {
    EXPECT_TRUE(proto_.ParseFromString(message_.payload));
  }
  std::string Rejection() {
    message_.payload = proto_.SerializeAsString();
    return RejectionOf(message_);
  }
  internal::Configure& configure() { return *proto_.mutable_configure(); }

  ControlMessage message_;
  internal::ToVmm proto_;
};

TEST_F(ProtoBend, DescriptorOutOfRange_Rejected) {
  configure().set_kvm_fd(200);
  EXPECT_EQ(Rejection(), "control: kvm: no descriptor 200");
}
TEST_F(ProtoBend, LargestDescriptorNumber_Rejected) {
  configure().set_kvm_fd(0xffffffff);
  EXPECT_EQ(Rejection(), "control: kvm: no descriptor 4294967295");
}
TEST_F(ProtoBend, DescriptorUsedTwice_Rejected) {
  configure().set_kernel_fd(configure().kvm_fd());
  EXPECT_EQ(Rejection(), "control: kernel: no descriptor 1");
}
TEST_F(ProtoBend, EnumNotGiven_Rejected) {
  configure().mutable_machine()->clear_profile();
  EXPECT_EQ(Rejection(), "profile: 0: unknown to this gemel-vmm");
}
TEST_F(ProtoBend, EnumOfTheFuture_Rejected) {
  configure().mutable_machine()->mutable_disks(0)->set_engine(static_cast<internal::IoEngine>(99));
  EXPECT_EQ(Rejection(), "disk: engine: 99: unknown to this gemel-vmm");
}
TEST_F(ProtoBend, NegativeEnum_Rejected) {
  configure().mutable_machine()->mutable_serial()->set_kind(static_cast<internal::SerialKind>(-1));
  EXPECT_EQ(Rejection(), "serial: -1: unknown to this gemel-vmm");
}
TEST_F(ProtoBend, NoMachine_Rejected) {
  configure().clear_machine();
  EXPECT_EQ(Rejection(), "profile: 0: unknown to this gemel-vmm");
}

TEST(ControlMessages, Reply_KeepsEveryField) {
  ControlReply reply{9, {Code::kFailedPrecondition, "no"}, VmInfo{}};
  reply.info = VmInfo{VmState::kPaused,
                      3,
                      1ull << 40,
                      {{"blk0",
                        "virtio-blk",
                        0xd0000000,
                        16,
                        1,
                        256,
                        "sync",
                        "io_uring: no",
                        {{"reads", 7}},
                        "00:01.0"}},
                      {"a", "b"},
                      SandboxMode::kRequired,
                      {{"pid namespace", true, ""}, {"Landlock", false, "not in this kernel"}},
                      BalloonInfo{1, 2, 3, -1, {{4, 5}, {9, ~0ull}}},
                      3,
                      {VcpuInfo{12'345, {{"port-read", 7}}}, VcpuInfo{}},
                      FenceState{{1, 2}, {3, 4}, true, false, 5}};
  auto decoded = DecodeFromVmm(EncodeReply(reply));
  ASSERT_TRUE(decoded);
  const auto& back = std::get<ControlReply>(*decoded);
  EXPECT_EQ(back.id, 9u);
  EXPECT_EQ(back.error.code, Code::kFailedPrecondition);
  EXPECT_EQ(back.error.message, "no");
  EXPECT_EQ(back.info, reply.info);
}

template <class E>
E EventRoundTrip(E event) {
  auto decoded = DecodeFromVmm(EncodeEvent(event));
  EXPECT_TRUE(decoded);
  const auto* any = std::get_if<ControlEvent>(&*decoded);
  EXPECT_NE(any, nullptr);
  EXPECT_TRUE(std::holds_alternative<E>(*any));
  return std::get<E>(*any);
}

TEST(ControlMessages, Events_KeepTheirFields) {
  const HelloEvent hello = EventRoundTrip(HelloEvent{3, "0.1.0", 77});
  EXPECT_EQ(hello.version, 3u);
  EXPECT_EQ(hello.build, "0.1.0");
  EXPECT_EQ(hello.pid, 77u);
  const CrashedEvent crashed = EventRoundTrip(CrashedEvent{"triple fault", "rip 0\nrsp 1"});
  EXPECT_EQ(crashed.kind, CrashedEvent::Kind::kMachine);
  EXPECT_EQ(EventRoundTrip(CrashedEvent{"", "", CrashedEvent::Kind::kPanic}).kind,
            CrashedEvent::Kind::kPanic);
  EXPECT_EQ(crashed.reason, "triple fault");
  EXPECT_EQ(crashed.report, "rip 0\nrsp 1");
  EXPECT_EQ(EventRoundTrip(SerialInfoEvent{"/dev/pts/3"}).path, "/dev/pts/3");
  const DiskErrorEvent disk = EventRoundTrip(DiskErrorEvent{"blk0", "write: full", 3});
  EXPECT_EQ(disk.device, "blk0");
  EXPECT_EQ(disk.reason, "write: full");
  EXPECT_EQ(disk.count, 3u);
  const FenceState fence{{1, 2}, {3, 4}, true, true, 5};
  EXPECT_EQ(EventRoundTrip(LatchedEvent{fence}).fence, fence);
  EventRoundTrip(RunningEvent{});
  EventRoundTrip(PoweredOffEvent{});
  EventRoundTrip(RebootRequestedEvent{});
  EventRoundTrip(ResetDoneEvent{});
  EventRoundTrip(UnknownEvent{});
}

TEST(ControlMessages, ReplyWithUnknownCode_Refused) {
  internal::FromVmm proto;
  proto.mutable_reply()->set_code(17);
  EXPECT_FALSE(DecodeFromVmm({proto.SerializeAsString(), {}}));
}

TEST(ControlMessages, InfoWithUnknownState_Refused) {
  internal::FromVmm proto;
  proto.mutable_reply()->mutable_info()->set_state(static_cast<internal::VmState>(6));
  EXPECT_FALSE(DecodeFromVmm({proto.SerializeAsString(), {}}));
}

TEST(ControlMessages, EventWithDescriptor_Refused) {
  ControlMessage message = EncodeEvent(RunningEvent{});
  message.fds.push_back(AnyFd());
  EXPECT_FALSE(DecodeFromVmm(std::move(message)));
}

}  // namespace
}  // namespace gemel
