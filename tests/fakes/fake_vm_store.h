// A VmStore in memory, which a test can fill, read and make fail.
#pragma once
#include <algorithm>
#include <optional>
#include <utility>

#include "grpc/vm_store.h"

namespace gemel::testing {

class FakeVmStore final : public daemon::VmStore {
 public:
  Result<daemon::StoreContents> Load() override { return contents; }

  Status Commit(const daemon::Batch& batch) override {
    ++commits;
    if (error) return std::unexpected(*error);
    for (const auto& vm : batch.put_vms) {
      DropVm(vm.vm.name());
      contents.vms.push_back(vm);
    }
    for (const auto& name : batch.delete_vms) DropVm(name);
    for (const auto& network : batch.put_networks) {
      DropNetwork(network.name());
      contents.networks.push_back(network);
    }
    for (const auto& name : batch.delete_networks) DropNetwork(name);
    for (const auto& operation : batch.put_operations) {
      std::erase_if(contents.operations,
                    [&](const auto& other) { return other.name() == operation.name(); });
      contents.operations.push_back(operation);
    }
    for (const auto& name : batch.delete_operations) {
      std::erase_if(contents.operations,
                    [&](const auto& operation) { return operation.name() == name; });
      std::erase_if(contents.requests,
                    [&](const auto& request) { return request.operation == name; });
    }
    contents.requests.insert(contents.requests.end(), batch.put_requests.begin(),
                             batch.put_requests.end());
    for (const auto& event : batch.events) {
      contents.events.push_back(event);
      contents.last_sequence = event.first;
    }
    return {};
  }

  // The record of a machine; null: there is none.
  const daemon::StoredVm* Find(const std::string& name) const {
    const auto found = std::find_if(contents.vms.begin(), contents.vms.end(),
                                    [&](const auto& vm) { return vm.vm.name() == name; });
    return found == contents.vms.end() ? nullptr : &*found;
  }

  daemon::StoreContents contents{"store", {}, {}, {}, {}, {}, {}, 0, {}};
  std::optional<Error> error;  // of every Commit from now on
  int commits = 0;

 private:
  void DropVm(const std::string& name) {
    std::erase_if(contents.vms, [&](const auto& vm) { return vm.vm.name() == name; });
  }
  void DropNetwork(const std::string& name) {
    std::erase_if(contents.networks, [&](const auto& network) { return network.name() == name; });
  }
};

}  // namespace gemel::testing
