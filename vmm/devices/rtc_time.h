// Seconds since 1970 (UTC) and the clock registers of an MC146818, one from the other. Pure.
#pragma once
#include <cstdint>

namespace gemel {

// Numbers, not register encodings. What a guest sets may be no time at all (month 99).
struct RtcTime {
  std::uint8_t second = 0;   // 0-59
  std::uint8_t minute = 0;   // 0-59
  std::uint8_t hour = 0;     // 0-23
  std::uint8_t weekday = 1;  // 1-7, Sunday is 1
  std::uint8_t day = 1;      // 1-31
  std::uint8_t month = 1;    // 1-12
  std::uint8_t year = 0;     // 0-99
  std::uint8_t century = 20;
};

// Years 0 to 9999.
RtcTime RtcTimeFromSeconds(std::int64_t seconds_since_1970);
// Fields out of range carry over, as days in a month that has fewer do. The weekday is not looked
// at.
std::int64_t SecondsFromRtcTime(const RtcTime& time);

// How register B says hours and numbers are written: data mode (binary or BCD) and 24 or 12 hours.
struct RtcFormat {
  bool binary = false;
  bool hours24 = true;
};
std::uint8_t EncodeRtcNumber(std::uint8_t number, RtcFormat format);
std::uint8_t DecodeRtcNumber(std::uint8_t encoded, RtcFormat format);
// 12-hour mode: 12, 1 … 11 with bit 7 for the afternoon.
std::uint8_t EncodeRtcHour(std::uint8_t hour, RtcFormat format);
std::uint8_t DecodeRtcHour(std::uint8_t encoded, RtcFormat format);

}  // namespace gemel
