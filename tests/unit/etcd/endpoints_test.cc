#include "etcd/endpoints.h"

#include <gtest/gtest.h>

namespace gemel::etcd {
namespace {

TEST(GrpcTargetTest, Addresses_AreNamedAsSuch) {
  EXPECT_EQ(GrpcTarget("10.0.0.1:2379").value(), "ipv4:10.0.0.1:2379");
  EXPECT_EQ(GrpcTarget("[fd00::1]:2379").value(), "ipv6:[fd00::1]:2379");
  EXPECT_EQ(GrpcTarget("unix:/run/gemel/etcd.sock").value(), "unix:/run/gemel/etcd.sock");
}

TEST(GrpcTargetTest, AnythingElse_IsRefused) {
  EXPECT_FALSE(GrpcTarget(""));
  EXPECT_FALSE(GrpcTarget("10.0.0.1"));
  EXPECT_FALSE(GrpcTarget("10.0.0.1:0"));
  EXPECT_FALSE(GrpcTarget("10.0.0.1:65536"));
  EXPECT_FALSE(GrpcTarget("node-a:2379"));
  EXPECT_FALSE(GrpcTarget("fd00::1:2379"));
  EXPECT_FALSE(GrpcTarget("unix:relative"));
  EXPECT_FALSE(GrpcTarget("https://10.0.0.1:2379"));
}

TEST(EndpointRingTest, Failure_AsksTheNextRoundAndRound) {
  EndpointRing ring(2);
  EXPECT_EQ(ring.current(), 0U);
  ring.OnFailure(0);
  EXPECT_EQ(ring.current(), 1U);
  ring.OnFailure(1);
  EXPECT_EQ(ring.current(), 0U);
}

TEST(EndpointRingTest, FailureOfAnEarlierOne_ChangesNothing) {
  EndpointRing ring(3);
  ring.OnFailure(0);
  ring.OnFailure(0);
  EXPECT_EQ(ring.current(), 1U);
}

}  // namespace
}  // namespace gemel::etcd
