#include "mos/session/picture_record.h"

#include <gtest/gtest.h>

#include "mos/base/file.h"
#include "mos/io/image.h"
#include "tests/support/golden.h"

namespace mos::session {
namespace {

/// Pictures of earlier versions (data/records): one from before there were samplers on sigmas,
/// shapes and marks in prompts, one with all of these.
TEST(PictureRecords, OfEarlierVersionsAreWrittenAgainToTheByte) {
  for (const char* name : {"records/boxes.png", "records/shapes.png"}) {
    const auto why = golden::missing({name});
    if (!why.empty()) GTEST_SKIP() << why;
    const auto path = *golden::find(name);
    const auto again = picture_bytes(io::read_image(path).pixels, read_record(path));
    EXPECT_TRUE(again == read_text_file(path)) << name;
  }
}

}  // namespace
}  // namespace mos::session
