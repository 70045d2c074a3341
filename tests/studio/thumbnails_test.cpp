#include "mos/studio/thumbnails.h"

#include <chrono>

#include "tests/studio/studio_fixture.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

/// The first bytes of a PNG of that many hundred pixels on each side.
std::string png_of(unsigned char hundreds) {
  const auto side = static_cast<unsigned>(hundreds) * 100;
  std::string bytes("\211PNG\r\n\032\n\0\0\0\rIHDR\0\0\0\0\0\0\0\0", 24);
  bytes[18] = bytes[22] = static_cast<char>(side >> 8);
  bytes[19] = bytes[23] = static_cast<char>(side & 0xff);
  return bytes;
}

class Thumbnails : public StudioTest {
 protected:
  static constexpr const char* kPicture = "concepts/racer/images/00.png";

  Thumbnails() { put(kPicture, png_of(20)); }

  void put(const std::string& path, const std::string& bytes) {
    make_folders((folder_->root() / path).parent_path());
    write_text_file(folder_->root() / path, bytes);
  }
  Reply get(const std::string& path) { return ask("GET", "/mos/v1/thumbnails/" + path); }
  bool has(const std::string& path) { return fs::exists(folder_->root() / path); }
  std::size_t made() { return lines_of(folder_->root() / "thumbnails-made").size(); }
  fs::path small_of(const std::string& path) {
    return folder_->root() / ".thumbnails" / (path + ".png");
  }
};

TEST_F(Thumbnails, AreMadeOnceForEachStateOfTheirPicture) {
  for (int i = 0; i < 2; ++i) {
    const auto reply = get(kPicture);
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.file, small_of(kPicture));
    EXPECT_EQ(reply.type, "image/png");
  }
  EXPECT_EQ(made(), 1U);
  for (const int days : {1, -1}) {  // a picture of another time is another one, older ones too
    const auto picture = folder_->root() / kPicture;
    fs::last_write_time(picture, fs::last_write_time(picture) + std::chrono::days(2 * days));
    get(kPicture);
  }
  EXPECT_EQ(made(), 3U);
}

TEST_F(Thumbnails, SmallPicturesAreSentThemselves) {
  put("uploads/small.png", png_of(2));
  EXPECT_EQ(get("uploads/small.png").file, folder_->root() / "uploads/small.png");
  put("uploads/unknown.jpg", "bytes of a JPEG");  // whose size only the reader knows
  EXPECT_EQ(get("uploads/unknown.jpg").file, small_of("uploads/unknown.jpg"));
  EXPECT_EQ(made(), 1U);
}

TEST_F(Thumbnails, AreOfPicturesThatAreSentAlone) {
  put("models/base/preview.png", png_of(20));
  put("trash/gone.png", png_of(20));
  put("uploads/note.txt", "text");
  EXPECT_EQ(get("models/base/preview.png").status, 404);
  EXPECT_EQ(get("trash/gone.png").status, 404);
  EXPECT_EQ(get("uploads/absent.png").status, 404);
  EXPECT_EQ(get("uploads/note.txt").status, 415);
  EXPECT_EQ(get(".thumbnails/uploads/a.png").status, 400);
  EXPECT_EQ(get("../studio.sqlite").status, 400);
  refuse_everything();
  const auto refused = get(kPicture);
  EXPECT_EQ(refused.status, 422);
  EXPECT_NE(refused.body.find(kPicture), std::string::npos) << refused.body;
  EXPECT_EQ(made(), 0U);
}

TEST_F(Thumbnails, GoWithTheirPicture) {
  put("concepts/racer/images/01.png", png_of(20));
  get(kPicture);
  get("concepts/racer/images/01.png");
  answer("DELETE", "/mos/v1/concepts/racer/pictures/00.png");
  EXPECT_FALSE(fs::exists(small_of(kPicture)));
  EXPECT_TRUE(fs::exists(small_of("concepts/racer/images/01.png")));
  answer("DELETE", "/mos/v1/concepts/racer");
  EXPECT_FALSE(has(".thumbnails/concepts/racer"));
}

TEST_F(Thumbnails, OfPicturesThatSomebodyTookAwayGoAtAStart) {
  put("uploads/stays.png", png_of(20));
  put(".thumbnails/12.png", "of an older version, by its number");
  get(kPicture);
  get("uploads/stays.png");
  fs::remove(folder_->root() / kPicture);
  remove_orphaned_thumbnails(*folder_);
  EXPECT_FALSE(fs::exists(small_of(kPicture)));
  EXPECT_FALSE(has(".thumbnails/12.png"));
  EXPECT_TRUE(fs::exists(small_of("uploads/stays.png")));
}

TEST_F(Thumbnails, OfTheGalleryAreTheSame) {
  stop();
  put("gallery/big.png", png_of(20));
  start();
  EXPECT_EQ(ask("GET", "/mos/v1/gallery/1/thumbnail").file, small_of("gallery/big.png"));
  get("gallery/big.png");
  EXPECT_EQ(made(), 1U);
  answer("POST", "/mos/v1/gallery/delete", {{"ids", {1}}});
  EXPECT_FALSE(fs::exists(small_of("gallery/big.png")));
}

}  // namespace
}  // namespace mos::studio
