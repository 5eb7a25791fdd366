// Whose disks a machine may have.
#include "tests/unit/grpc/manager_fixture.h"

namespace gemel::daemon {
namespace {

class IscsiDisksTest : public VmManagerTest {
 protected:
  v1::CreateVirtualMachineRequest WithLun(const std::string& id, const std::string& target,
                                          std::uint32_t lun, bool run = false) const {
    v1::CreateVirtualMachineRequest request = CreateRequest(id, run);
    v1::IscsiLun& iscsi =
        *request.mutable_virtual_machine()->mutable_spec()->add_disks()->mutable_iscsi();
    iscsi.set_target(target);
    iscsi.set_lun(lun);
    return request;
  }
  ApiResult<v1::Operation> Make(v1::CreateVirtualMachineRequest request) {
    manager_->Create(Call("Create"), std::move(request), Keep());
    return Outcome();
  }
};

TEST_F(IscsiDisksTest, Lun_ReachesTheSupervisor) {
  ASSERT_TRUE(Make(WithLun("web", "san", 3, true)).has_value());
  EXPECT_EQ(State(), "RUNNING");
  const MachineConfig& config = supervisor_.vms().at(Vm().uid()).config;
  EXPECT_EQ(config.disks.at(0).path, "iscsi://10.0.0.9:3260/iqn.2026-11.test:disk/3");
}

TEST_F(IscsiDisksTest, LunOfAnotherMachine_IsRefusedByWhateverName) {
  ASSERT_TRUE(Make(WithLun("web", "san", 3)).has_value());
  const auto refused = Make(WithLun("db", "other", 3));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(ReasonOf(refused.error()), "RESOURCE_IN_USE");
  EXPECT_EQ(refused.error().message(),
            "virtual_machine.spec.disks[0].iscsi: LUN 3 of other is a disk of projects/p/vms/web");
  EXPECT_TRUE(Make(WithLun("db", "san", 4)).has_value());
}

TEST_F(IscsiDisksTest, LunOfAnotherProject_DoesNotNameItsMachine) {
  ASSERT_TRUE(Make(WithLun("web", "san", 3)).has_value());
  auto request = WithLun("web", "san", 3);
  request.set_parent("projects/q");
  const auto refused = Make(request);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message().find("projects/p"), std::string::npos);
}

TEST_F(IscsiDisksTest, LunThatAllOnlyRead_IsShared) {
  auto first = WithLun("web", "san", 3), second = WithLun("db", "san", 3);
  first.mutable_virtual_machine()->mutable_spec()->mutable_disks(0)->set_read_only(true);
  second.mutable_virtual_machine()->mutable_spec()->mutable_disks(0)->set_read_only(true);
  ASSERT_TRUE(Make(first).has_value());
  EXPECT_TRUE(Make(second).has_value());
  EXPECT_FALSE(Make(WithLun("third", "san", 3)).has_value());
}

TEST_F(IscsiDisksTest, LunThatARunningMachineStillHas_IsNotGivenAway) {
  ASSERT_TRUE(Make(WithLun("web", "san", 3, true)).has_value());
  v1::UpdateVirtualMachineRequest update;
  *update.mutable_virtual_machine() = Vm();
  update.mutable_virtual_machine()->mutable_spec()->clear_disks();
  update.mutable_update_mask()->add_paths("spec.disks");
  manager_->Update(Call("Update"), update, Keep());
  ASSERT_TRUE(Outcome().has_value());
  EXPECT_FALSE(Make(WithLun("db", "san", 3)).has_value());
}

TEST_F(IscsiDisksTest, TargetOfNoMachineOfThatProject_IsUnknown) {
  auto request = WithLun("web", "san", 3);
  request.set_parent("projects/r");
  const auto refused = Make(request);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("\"san\" is none of this node's iSCSI targets"),
            std::string::npos);
}

}  // namespace
}  // namespace gemel::daemon
