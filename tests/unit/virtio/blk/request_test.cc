#include "virtio/blk/request.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

namespace gemel::virtio {
namespace {

using Kind = BlkRequest::Kind;
constexpr std::uint64_t kDisk = 1 << 20;

// A request's parts in host memory, cut into segments.
class RequestTest : public ::testing::Test {
 protected:
  void Header(std::uint32_t type, std::uint64_t sector = 0) {
    const BlkRequestHeader header{type, 0, sector};
    Readable(&header, sizeof header);
  }
  void Segment(std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags = 0) {
    const BlkSegment segment{sector, sectors, flags};
    Readable(&segment, sizeof segment);
  }
  void Readable(const void* bytes, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(bytes);
    storage_.push_back(std::vector<std::byte>(from, from + size));
    readable_.push_back({storage_.back().data(), size});
  }
  void Data(std::size_t size) { Readable(std::vector<std::byte>(size).data(), size); }
  void Writable(std::size_t size) {
    storage_.push_back(std::vector<std::byte>(size));
    writable_.push_back({storage_.back().data(), size});
  }
  auto Parse() { return ParseBlkRequest(readable_, writable_, limits_); }
  void ExpectError(BlkStatus status) {
    const auto request = Parse();
    ASSERT_FALSE(request.has_value());
    EXPECT_EQ(request.error(), status);
  }

  BlkLimits limits_ = {.capacity = kDisk, .features = kBlkFeatureDiscard | kBlkFeatureWriteZeroes};
  std::vector<std::vector<std::byte>> storage_;
  std::vector<iovec> readable_, writable_;
};

TEST_F(RequestTest, Read_CountsAllWritableBytesButTheStatus) {
  Header(0, 8);
  Writable(4096);
  Writable(1);
  EXPECT_EQ(Parse(), (BlkRequest{.kind = Kind::kRead, .offset = 4096, .length = 4096}));
}

TEST_F(RequestTest, ReadWithStatusBehindData_IsTheSame) {
  Header(0);
  Writable(513);
  EXPECT_EQ(Parse(), (BlkRequest{.kind = Kind::kRead, .offset = 0, .length = 512}));
}

TEST_F(RequestTest, HeaderInPieces_IsPutTogether) {
  const BlkRequestHeader header{1, 0, 2};
  const auto* bytes = reinterpret_cast<const std::byte*>(&header);
  Readable(bytes, 3);
  Readable(bytes + 3, 10);
  Readable(bytes + 13, 3);
  Data(512);
  Writable(1);
  EXPECT_EQ(Parse(), (BlkRequest{.kind = Kind::kWrite, .offset = 1024, .length = 512}));
}

TEST_F(RequestTest, HeaderTooShort_IsAnError) {
  Data(15);
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, NothingReadable_IsAnError) {
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, ReadToTheLastSector_IsGood) {
  Header(0, kDisk / 512 - 1);
  Writable(513);
  EXPECT_TRUE(Parse().has_value());
}

TEST_F(RequestTest, ReadAcrossTheEnd_IsAnError) {
  Header(0, kDisk / 512 - 1);
  Writable(1025);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, SectorWhoseByteOffsetOverflows_IsAnError) {
  Header(0, std::uint64_t{1} << 55);
  Writable(513);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, LargestSector_IsAnError) {
  Header(0, ~std::uint64_t{0});
  Writable(513);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, LengthNotInSectors_IsAnError) {
  Header(0);
  Writable(512);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, SectorOnADiskOf4KBlocks_IsAnError) {
  limits_.logical_block_size = 4096;
  Header(0, 1);
  Writable(4097);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, ReadOfNothing_IsGood) {
  Header(0, kDisk / 512);
  Writable(1);
  EXPECT_EQ(Parse(), (BlkRequest{.kind = Kind::kRead, .offset = kDisk, .length = 0}));
}

TEST_F(RequestTest, ReadOfNothingPastTheEnd_IsAnError) {
  Header(0, kDisk / 512 + 1);
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, WriteToAReadOnlyDisk_IsAnError) {
  limits_.read_only = true;
  Header(1);
  Data(512);
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, Flush_IsKnown) {
  Header(4);
  Writable(1);
  EXPECT_EQ(Parse(), (BlkRequest{.kind = Kind::kFlush}));
}

TEST_F(RequestTest, GetId_SaysHowMuchRoomThereIs) {
  Header(8);
  Writable(20);
  Writable(1);
  EXPECT_EQ(Parse(), (BlkRequest{.kind = Kind::kGetId, .length = 20}));
}

TEST_F(RequestTest, UnknownType_IsUnsupported) {
  Header(14);
  Writable(1);
  ExpectError(BlkStatus::kUnsupported);
}

TEST_F(RequestTest, Discard_IsARange) {
  Header(11);
  Segment(8, 16);
  Writable(1);
  EXPECT_EQ(Parse(), (BlkRequest{.kind = Kind::kDiscard, .offset = 4096, .length = 8192}));
}

TEST_F(RequestTest, DiscardWithUnmap_IsUnsupported) {
  Header(11);
  Segment(8, 16, 1);
  Writable(1);
  ExpectError(BlkStatus::kUnsupported);
}

TEST_F(RequestTest, DiscardNotNegotiated_IsUnsupported) {
  limits_.features = 0;
  Header(11);
  Segment(8, 16);
  Writable(1);
  ExpectError(BlkStatus::kUnsupported);
}

TEST_F(RequestTest, DiscardWithoutSegment_IsAnError) {
  Header(11);
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, DiscardOfTwoSegments_IsAnError) {
  Header(11);
  Segment(8, 16);
  Segment(32, 16);
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, DiscardPastTheEnd_IsAnError) {
  Header(11);
  Segment(kDisk / 512 - 1, 2);
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, WriteZeroesWithUnmap_MayUnmap) {
  Header(13);
  Segment(0, 8, 1);
  Writable(1);
  EXPECT_EQ(Parse(), (BlkRequest{.kind = Kind::kWriteZeroes, .may_unmap = true, .length = 4096}));
}

TEST_F(RequestTest, WriteZeroesWithUnknownFlag_IsUnsupported) {
  Header(13);
  Segment(0, 8, 2);
  Writable(1);
  ExpectError(BlkStatus::kUnsupported);
}

TEST_F(RequestTest, WriteZeroesLongerThanAllowed_IsAnError) {
  limits_.capacity = std::uint64_t{1} << 40;
  Header(13);
  Segment(0, kMaxRangeSectors + 1);
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

TEST_F(RequestTest, WriteZeroesOnAReadOnlyDisk_IsAnError) {
  limits_.read_only = true;
  Header(13);
  Segment(0, 8);
  Writable(1);
  ExpectError(BlkStatus::kIoError);
}

class SliceTest : public ::testing::Test {
 protected:
  std::array<std::byte, 64> bytes_{};
  std::array<iovec, 3> iov_ = {
      {{bytes_.data(), 16}, {bytes_.data() + 16, 32}, {bytes_.data() + 48, 16}}};
  std::vector<iovec> storage_;
};

TEST_F(SliceTest, OnSegmentBounds_IsPartOfTheWhole) {
  const auto slice = SliceIov(iov_, 16, 32, storage_);
  EXPECT_EQ(slice.data(), &iov_[1]);
  EXPECT_EQ(slice.size(), 1u);
}

TEST_F(SliceTest, InsideSegments_IsCut) {
  const auto slice = SliceIov(iov_, 20, 40, storage_);
  ASSERT_EQ(slice.size(), 2u);
  EXPECT_EQ(slice[0].iov_base, bytes_.data() + 20);
  EXPECT_EQ(slice[0].iov_len, 28u);
  EXPECT_EQ(slice[1].iov_base, bytes_.data() + 48);
  EXPECT_EQ(slice[1].iov_len, 12u);
}

TEST_F(SliceTest, InsideOneSegment_IsCutAtBothEnds) {
  const auto slice = SliceIov(iov_, 17, 5, storage_);
  ASSERT_EQ(slice.size(), 1u);
  EXPECT_EQ(slice[0].iov_base, bytes_.data() + 17);
  EXPECT_EQ(slice[0].iov_len, 5u);
}

TEST_F(SliceTest, FromTheMiddleToTheEnd_IsCutInFront) {
  const auto slice = SliceIov(iov_, 1, 63, storage_);
  ASSERT_EQ(slice.size(), 3u);
  EXPECT_EQ(slice[0].iov_len, 15u);
  EXPECT_EQ(slice[2].iov_len, 16u);
}

TEST_F(SliceTest, Nothing_IsEmpty) {
  EXPECT_TRUE(SliceIov(iov_, 16, 0, storage_).empty());
  EXPECT_EQ(SliceIov(iov_, 64, 0, storage_).size(), 0u);
}

}  // namespace
}  // namespace gemel::virtio
