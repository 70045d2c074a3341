#include "mos/base/record.h"

#include <gmock/gmock.h>

#include "mos/base/device.h"
#include "mos/base/stopwatch.h"
#include "tests/base/places.h"

namespace mos {
namespace {

using test::error_of;
using test::put;
using testing::HasSubstr;

TEST(OwnRecords, AreObjectsThatNameTheProgram) {
  const TempDir folder;
  put(folder / "ours.json", R"({"mixofshow": "0.1.0", "seed": 3})");
  put(folder / "theirs.json", R"({"scene": "mixofshow"})");
  EXPECT_TRUE(is_own_record(folder / "ours.json"));
  EXPECT_FALSE(is_own_record(folder / "theirs.json"));
}

TEST(OwnRecords, NeverThrowWhateverLiesThere) {
  const TempDir folder;
  put(folder / "list.json", R"(["mixofshow"])");
  put(folder / "text.json", R"("mixofshow")");
  put(folder / "cut.json", R"({"mixofshow": )");
  put(folder / "empty.json", "");
  for (const char* name :
       {"list.json", "text.json", "cut.json", "empty.json", "absent.json", "."}) {
    EXPECT_FALSE(is_own_record(folder / name)) << name;
  }
}

TEST(Devices, AreNamedAsLibTorchNamesThem) {
  EXPECT_TRUE(device_named("cpu").is_cpu());
  EXPECT_THAT(error_of(ErrorKind::kUsage, [] { device_named("gpu"); }), HasSubstr("cuda:NUMBER"));
  EXPECT_THAT(error_of(ErrorKind::kUsage, [] { device_named(""); }), HasSubstr("cpu, cuda"));
  EXPECT_THAT(error_of(ErrorKind::kUsage, [] { device_named("cpu:0"); }), HasSubstr("cpu:0"));
}

TEST(Stopwatches, LapsAddUpToTheWhole) {
  Stopwatch whole;  // begins before the laps do, and is read after them
  Stopwatch laps;
  double sum = 0.0;
  for (int i = 0; i < 3; ++i) {
    const double lap = laps.lap();
    EXPECT_GE(lap, 0.0);
    sum += lap;
  }
  sum += laps.seconds();
  EXPECT_LE(sum, whole.seconds() + 1e-9);  // sums of doubles
}

}  // namespace
}  // namespace mos
