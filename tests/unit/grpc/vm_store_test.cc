#include "grpc/vm_store.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace gemel::daemon {
namespace {

class SqliteStoreTest : public ::testing::Test {
 protected:
  SqliteStoreTest() {
    std::string pattern = ::testing::TempDir() + "storeXXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~SqliteStoreTest() override { std::filesystem::remove_all(folder_); }
  std::string Path() const { return folder_ + "/gemeld.db"; }
  std::string folder_;
};

Batch SomeBatch() {
  Batch batch;
  StoredVm vm;
  vm.vm.set_name("projects/p/vms/web");
  vm.vm.set_description(std::string("a\0b", 3));
  vm.running_spec.mutable_cpu()->set_count(3);
  vm.deleting = true;
  batch.put_vms.push_back(vm);
  v1::Operation operation;
  operation.set_name("projects/p/operations/op-1");
  batch.put_operations.push_back(operation);
  batch.put_requests.push_back({"user:a id", "print", operation.name()});
  v1::Event event;
  event.set_reason("REQUESTED");
  batch.events.emplace_back(7, event);
  return batch;
}

TEST_F(SqliteStoreTest, Batch_IsThereAfterReopening) {
  ASSERT_TRUE((*SqliteStore::Open(Path()))->Commit(SomeBatch()).has_value());
  const auto contents = (*SqliteStore::Open(Path()))->Load();
  ASSERT_TRUE(contents.has_value());
  ASSERT_EQ(contents->vms.size(), 1u);
  EXPECT_EQ(contents->vms[0].vm.description(), std::string("a\0b", 3));
  EXPECT_EQ(contents->vms[0].running_spec.cpu().count(), 3u);
  EXPECT_TRUE(contents->vms[0].deleting);
  EXPECT_EQ(contents->operations.size(), 1u);
  ASSERT_EQ(contents->requests.size(), 1u);
  EXPECT_EQ(contents->requests[0].key, "user:a id");
  EXPECT_EQ(contents->last_sequence, 7u);
  EXPECT_EQ(contents->events[0].second.reason(), "REQUESTED");
}

TEST_F(SqliteStoreTest, Deletes_TakeRequestsOfOperationsAlong) {
  auto store = std::move(*SqliteStore::Open(Path()));
  ASSERT_TRUE(store->Commit(SomeBatch()).has_value());
  Batch batch;
  batch.delete_vms.push_back("projects/p/vms/web");
  batch.delete_operations.push_back("projects/p/operations/op-1");
  batch.delete_events_below = 8;
  ASSERT_TRUE(store->Commit(batch).has_value());
  const auto contents = store->Load();
  EXPECT_TRUE(contents->vms.empty());
  EXPECT_TRUE(contents->operations.empty());
  EXPECT_TRUE(contents->requests.empty());
  EXPECT_TRUE(contents->events.empty());
}

TEST_F(SqliteStoreTest, LastDecisionsOfNodes_OutliveTheirEvents) {
  auto store = std::move(*SqliteStore::Open(Path()));
  Batch batch;
  for (const std::uint64_t number : {4U, 5U}) {
    v1::Event event;
    event.mutable_decision()->set_node("nodes/a");
    event.mutable_decision()->set_number(number);
    batch.events.emplace_back(number, event);
  }
  ASSERT_TRUE(store->Commit(batch).has_value());
  Batch upkeep;
  upkeep.delete_events_below = 6;
  ASSERT_TRUE(store->Commit(upkeep).has_value());
  const auto contents = store->Load();
  EXPECT_TRUE(contents->events.empty());
  EXPECT_EQ(contents->taken_decisions, (std::map<std::string, std::uint64_t>{{"nodes/a", 5}}));
}

TEST_F(SqliteStoreTest, BatchThatFailsHalfway_ChangesNothing) {
  auto store = std::move(*SqliteStore::Open(Path()));
  Batch batch = SomeBatch();
  batch.events.push_back(batch.events[0]);  // the same sequence number twice
  EXPECT_FALSE(store->Commit(batch).has_value());
  EXPECT_TRUE(store->Load()->vms.empty());
  EXPECT_TRUE(store->Commit(SomeBatch()).has_value());
}

TEST_F(SqliteStoreTest, StoreKeepsItsId) {
  const std::string id = (*SqliteStore::Open(Path()))->Load()->id;
  EXPECT_EQ(id.size(), 36u);
  EXPECT_EQ((*SqliteStore::Open(Path()))->Load()->id, id);
}

TEST_F(SqliteStoreTest, DamagedFile_IsReportedAndLeftAsItIs) {
  std::ofstream(Path()) << std::string(8192, 'x');
  const auto store = SqliteStore::Open(Path());
  ASSERT_FALSE(store.has_value());
  EXPECT_EQ(store.error().code, Code::kDataLoss);
  EXPECT_NE(store.error().message.find(Path()), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(Path()), 8192u);
}

}  // namespace
}  // namespace gemel::daemon
