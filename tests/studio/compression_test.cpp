#include "mos/studio/compression.h"

#include <gtest/gtest.h>

#include "mos/base/error.h"

namespace mos::studio {
namespace {

TEST(Compression, IsForThoseWhoTakeIt) {
  for (const char* header : {"gzip", "deflate, gzip", "GZIP;q=0.5", "x-gzip", "*", "br, *;q=0.1"}) {
    EXPECT_TRUE(accepts_gzip(header)) << header;
  }
  for (const char* header :
       {"", "identity", "br", "gzip;q=0", "gzip; q=0.0", "gzip;q=0, *", "*;q=0", "gzip;q=no"}) {
    EXPECT_FALSE(accepts_gzip(header)) << header;
  }
}

TEST(Compression, IsUndone) {
  // printf dog | gzip -9n
  const std::string dog(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\xc9\x4f\x07\x00\x7d\x39\x2c\x81\x03\x00\x00"
      "\x00",
      23);
  EXPECT_EQ(gunzip(dog), "dog");
  EXPECT_THROW(gunzip("no gzip"), Error);
  EXPECT_THROW(gunzip(std::string_view(dog).substr(0, 15)), Error);
}

}  // namespace
}  // namespace mos::studio
