// A VmManager over a fake store and a fake supervisor; a test calls it and lets the loop run dry.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpc/vm_manager.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_network_host.h"
#include "tests/fakes/fake_quotas.h"
#include "tests/fakes/fake_vm_store.h"
#include "tests/fakes/fake_vm_supervisor.h"

namespace gemel::daemon {

inline const std::string kWeb = "projects/p/vms/web";

class VmManagerTest : public ::testing::Test {
 protected:
  VmManagerTest() {
    std::string pattern = ::testing::TempDir() + "managerXXXXXX";
    folder_ = mkdtemp(pattern.data());
    std::ofstream(folder_ + "/kernel") << "kernel";
    clock_.realtime_ns = 1'700'000'000'000'000'000;
    clock_.monotonic_ns = 1'000'000'000;
    Restart();
  }
  ~VmManagerTest() override {
    manager_.reset();
    std::filesystem::remove_all(folder_);
  }

  // As if the daemon had been killed and started again; machines run on.
  void Restart() {
    manager_.reset();
    timers_ = std::move(*Timers::Create(loop_.get(), &clock_));
    published_ = std::make_unique<Published>();
    VmManager::Options options;
    options.node = "n";
    options.paths.boot_folders = {folder_};
    options.memory_capacity = 4ull << 30;
    options.paths.disk_path = [](std::string_view) -> ApiResult<std::string> {
      return std::unexpected(InvalidField("", "no disks here"));
    };
    options.paths.tap_name = [](const std::string&) { return "tap"; };
    options.paths.iscsi.initiator = "iqn.2026-11.test:n";
    options.paths.iscsi.targets["san"] = {"10.0.0.9", "iqn.2026-11.test:disk", "", "", {"p", "q"}};
    options.paths.iscsi.targets["other"] = {"10.0.1.9", "iqn.2026-11.test:disk", "", "", {}};
    options.networks = &network_host_;
    options.quotas = &quotas_;
    options.host_bridges = {"br0"};
    manager_ = std::make_unique<VmManager>(loop_.get(), timers_.get(), &clock_, &store_,
                                           published_.get(), options);
    bool ready = false;
    manager_->Begin(&supervisor_, [&](const Status& status) {
      EXPECT_TRUE(status.has_value());
      ready = true;
    });
    Drain();
    EXPECT_TRUE(ready);
  }

  void Drain() {
    for (int i = 0; i < 50; ++i) loop_->RunOnce(0);
  }
  void Pass(std::int64_t ms) {
    clock_.Advance(ms * 1'000'000);
    timers_->RunDue();
    Drain();
  }

  static CallInfo Call(const std::string& method, const std::string& id = "") {
    return {"user:test", method, id, method + id, false};
  }
  VmManager::Reply Keep() {
    reply_.reset();
    return [this](ApiResult<v1::Operation> result) { reply_ = std::move(result); };
  }
  // The operation as it is now; the error if the call was refused.
  ApiResult<v1::Operation> Outcome() {
    Drain();
    if (!reply_) return std::unexpected(MakeApiError(Code::kUnknown, "NO_REPLY", "no reply"));
    if (!*reply_ || (*reply_)->name().empty()) return *reply_;
    return *published_->operations.Get((*reply_)->name());
  }

  v1::CreateVirtualMachineRequest CreateRequest(const std::string& id, bool run) const {
    v1::CreateVirtualMachineRequest request;
    request.set_parent("projects/p");
    request.set_vm_id(id);
    auto& vm = *request.mutable_virtual_machine();
    vm.mutable_spec()->mutable_boot()->set_kernel(folder_ + "/kernel");
    vm.mutable_spec()->mutable_memory()->set_size_bytes(64 << 20);
    if (run) vm.set_desired_state(v1::DESIRED_STATE_RUNNING);
    return request;
  }
  ApiResult<v1::Operation> Create(const std::string& id, bool run) {
    manager_->Create(Call("Create"), CreateRequest(id, run), Keep());
    return Outcome();
  }
  template <class Request>
  ApiResult<v1::Operation> Do(const std::string& verb,
                              void (VmManager::*method)(CallInfo, Request, VmManager::Reply),
                              const std::string& name = kWeb) {
    Request request;
    request.set_name(name);
    (manager_.get()->*method)(Call(verb), request, Keep());
    return Outcome();
  }
  v1::VirtualMachine Vm(const std::string& name = kWeb) const {
    const auto found = published_->vms.Get(name);
    return found == nullptr ? v1::VirtualMachine() : *found;
  }
  std::string State(const std::string& name = kWeb) const {
    return v1::VirtualMachineState_Name(Vm(name).status().state()).substr(22);
  }
  std::vector<std::string> Calls() const { return supervisor_.calls(); }
  long CountCalls(const std::string& verb) const {
    return std::count_if(supervisor_.calls().begin(), supervisor_.calls().end(),
                         [&](const auto& call) { return call.starts_with(verb + " "); });
  }
  bool HasEvent(v1::EventType type) const {
    for (const auto& [sequence, event] : published_->events->Kept(0)) {
      if (event->type() == type) return true;
    }
    return false;
  }

  std::string folder_;
  std::unique_ptr<EventLoop> loop_ = std::move(*EventLoop::Create());
  testing::FakeClock clock_;
  testing::FakeVmStore store_;
  testing::FakeVmSupervisor supervisor_{
      loop_.get(),
      [this](const VmUid& uid, const VmEvent& event) { manager_->OnVmEvent(uid, event); }};
  testing::FakeNetworkHost network_host_{loop_.get()};
  testing::FakeQuotas quotas_;
  std::unique_ptr<Timers> timers_;
  std::unique_ptr<Published> published_;
  std::unique_ptr<VmManager> manager_;
  std::optional<ApiResult<v1::Operation>> reply_;
};

}  // namespace gemel::daemon
