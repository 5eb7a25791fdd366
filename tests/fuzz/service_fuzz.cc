// Every unary method of the API, with bytes for its request: what a client may send, through the service
// layer, the gate, and the manager, over fakes of the store and the processes. The input is calls, one
// after the other: a byte that chooses the method, two of length, and the request. Streams are
// tests/api's.
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/test/default_reactor_test_peer.h>
#include <stdlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "grpc/access_service.h"
#include "grpc/disks_service.h"
#include "grpc/events_service.h"
#include "grpc/networks_service.h"
#include "grpc/nodes_service.h"
#include "grpc/operations_service.h"
#include "grpc/virtual_machines_service.h"
#include "grpc/vm_sampler.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_network_host.h"
#include "tests/fakes/fake_vm_store.h"
#include "tests/fakes/fake_vm_supervisor.h"

namespace gemel::daemon {
namespace {

constexpr int kMostTurns = 60'000;  // of the loop, until a call is answered: a minute
constexpr int kMostCalls = 32;      // of one input

// Whoever calls is root.
class Anybody : public access::IdentityProvider {
 public:
  Result<std::optional<access::Caller>> Identify(const access::PeerFacts&) override {
    access::Caller caller;
    caller.name = "user:root";
    caller.also = {"uid:0"};
    return caller;
  }
};

// What outlives an input: files, which are slow to make.
struct Surroundings {
  std::string folder;
  testing::FakeClock clock;
  access::Identities identities;
  std::unique_ptr<access::AuditLog> audit;
  std::unique_ptr<DiskPools> pools;

  Surroundings() {
    SetLogLevel(LogLevel::kError);
    google::protobuf::SetLogHandler(nullptr);
    std::string pattern = "/tmp/service-fuzz-XXXXXX";
    CHECK(mkdtemp(pattern.data()) != nullptr);
    folder = pattern;
    clock.realtime_ns = 1'700'000'000'000'000'000;
    identities.Add(std::make_unique<Anybody>());
    audit = *access::AuditLog::Open("/dev/null", &clock, [](int) { return 0; });
    pools = std::make_unique<DiskPools>(
        std::map<std::string, std::string>{{"default", folder + "/pool"}},
        std::vector<std::string>{"/dev/null"});
  }
  ~Surroundings() { std::filesystem::remove_all(folder); }
};

// The daemon of one input.
class Daemon {
 public:
  explicit Daemon(Surroundings& around)
      : policy_(*access::PolicyStore::Open(around.folder + "/access")),
        doorman_(&around.identities, policy_.get(), around.audit.get()),
        gate_(&doorman_) {
    VmManager::Options options;
    options.node = "n";
    options.paths.boot_folders = {"/dev"};  // of which /dev/null can be opened
    options.paths.disk_path = [](std::string_view) -> ApiResult<std::string> { return "/disk"; };
    options.memory_capacity = 4ull << 30;
    options.quotas = policy_.get();
    options.networks = &network_host_;
    options.host_bridges = {"br0"};
    options.pools = around.pools.get();  // and no thread for files: disks stay CREATING
    timers_ = *Timers::Create(loop_.get(), &around.clock);
    manager_ = std::make_unique<VmManager>(loop_.get(), timers_.get(), &around.clock, &store_,
                                           &published_, options);
    manager_->Begin(&supervisor_, [](const Status& status) { CHECK(status.has_value()); });
    for (int i = 0; i < 20; ++i) loop_->RunOnce(0);
    sampler_ = std::make_unique<VmSampler>(timers_.get(), &around.clock, &published_, 5000);
    sampler_->Begin(&supervisor_, [](const VmUid&, const VmEvent&) {});
    services_.loop = loop_.get();
    services_.sampler = sampler_.get();
    services_.timers = timers_.get();
    services_.manager = manager_.get();
    services_.published = &published_;
    services_.gate = &gate_;
    AddMethods(around);
  }

  void Call(std::size_t method, std::string_view bytes) {
    methods_[method % methods_.size()](bytes);
  }

 private:
  template <class Service, class Request, class Response>
  void Add(Service* service,
           grpc::ServerUnaryReactor* (Service::*method)(grpc::CallbackServerContext*,
                                                        const Request*, Response*)) {
    methods_.emplace_back([this, service, method](std::string_view bytes) {
      Request request;
      if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
      Response response;
      grpc::CallbackServerContext context;
      // Not a flag of ours: whoever answers goes on in the context until this is set.
      const grpc::testing::DefaultReactorTestPeer peer(&context);
      (service->*method)(&context, &request, &response);
      // The audit log answers on a thread of its own.
      for (int i = 0; i < kMostTurns && !peer.test_status_set(); ++i)
        loop_->RunOnce(i < 100 ? 0 : 1);
      CHECK(peer.test_status_set());
    });
  }

  void AddMethods(Surroundings& around) {
    using Vms = VirtualMachinesService;
    Add(&vms_, &Vms::Create);
    Add(&vms_, &Vms::Get);
    Add(&vms_, &Vms::List);
    Add(&vms_, &Vms::Update);
    Add(&vms_, &Vms::Delete);
    Add(&vms_, &Vms::Start);
    Add(&vms_, &Vms::Shutdown);
    Add(&vms_, &Vms::Stop);
    Add(&vms_, &Vms::Reset);
    Add(&vms_, &Vms::Pause);
    Add(&vms_, &Vms::Resume);
    Add(&vms_, &Vms::Inspect);
    disks_ = std::make_unique<DisksService>(&services_, around.pools.get(), nullptr);
    Add(disks_.get(), &DisksService::Create);
    Add(disks_.get(), &DisksService::Get);
    Add(disks_.get(), &DisksService::List);
    Add(disks_.get(), &DisksService::Update);
    Add(disks_.get(), &DisksService::Delete);
    Add(disks_.get(), &DisksService::ListPools);
    Add(&operations_, &OperationsService::Get);
    Add(&operations_, &OperationsService::List);
    Add(&operations_, &OperationsService::Cancel);
    Add(&events_, &EventsService::List);
    Add(&nodes_, &NodesService::Get);
    Add(&nodes_, &NodesService::List);
    access_ = std::make_unique<AccessService>(&services_, policy_.get());
    Add(access_.get(), &AccessService::WhoAmI);
    Add(access_.get(), &AccessService::Check);
    Add(access_.get(), &AccessService::CreateBinding);
    Add(access_.get(), &AccessService::GetBinding);
    Add(access_.get(), &AccessService::ListBindings);
    Add(access_.get(), &AccessService::DeleteBinding);
    Add(access_.get(), &AccessService::GetQuota);
    Add(access_.get(), &AccessService::UpdateQuota);
    Add(&vms_, &Vms::ListStats);
    Add(&networks_, &NetworksService::Create);
    Add(&networks_, &NetworksService::Get);
    Add(&networks_, &NetworksService::List);
    Add(&networks_, &NetworksService::Update);
    Add(&networks_, &NetworksService::Delete);
    Add(&networks_, &NetworksService::ListLeases);
  }

  const std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  const std::unique_ptr<access::PolicyStore> policy_;
  const access::Doorman doorman_;
  const CallGate gate_;
  std::unique_ptr<Timers> timers_;
  testing::FakeVmStore store_;
  testing::FakeVmSupervisor supervisor_{
      loop_.get(),
      [this](const VmUid& uid, const VmEvent& event) { manager_->OnVmEvent(uid, event); }};
  testing::FakeNetworkHost network_host_{loop_.get()};
  Published published_;
  std::unique_ptr<VmManager> manager_;
  std::unique_ptr<VmSampler> sampler_;
  ServiceContext services_;
  VirtualMachinesService vms_{&services_};
  OperationsService operations_{&services_};
  EventsService events_{&services_};
  NetworksService networks_{&services_};
  NodesService nodes_{&services_, {"n", "0", 4ull << 30, 2000}};
  std::unique_ptr<DisksService> disks_;
  std::unique_ptr<AccessService> access_;
  std::vector<std::function<void(std::string_view)>> methods_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Surroundings around;
  // SAFETY: bytes are looked at as chars.
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  Daemon daemon(around);
  for (int i = 0; i < kMostCalls && rest.size() >= 3; ++i) {
    const auto method = static_cast<std::uint8_t>(rest[0]);
    const std::size_t length = static_cast<std::uint8_t>(rest[1]) +
                               (static_cast<std::size_t>(static_cast<std::uint8_t>(rest[2])) << 8);
    rest.remove_prefix(3);
    daemon.Call(method, rest.substr(0, length));
    rest.remove_prefix(std::min(length, rest.size()));
  }
  return 0;
}

}  // namespace gemel::daemon
