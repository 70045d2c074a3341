#include "mos/studio/trash.h"

#include "tests/studio/studio_fixture.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

class Trash : public StudioTest {
 protected:
  static constexpr const char* kRestore = "/mos/v1/trash/restore";

  void put(const std::string& path, const std::string& bytes = "bytes") {
    make_folders((folder_->root() / path).parent_path());
    write_text_file(folder_->root() / path, bytes);
  }
  bool has(const std::string& path) { return fs::exists(folder_->root() / path); }
  Json remove(const std::string& path) {
    return {{"moved", answer("DELETE", "/mos/v1/" + path).at("moved")}};
  }
};

TEST_F(Trash, GivesBackWhateverWasDeleted) {
  for (const std::string path :
       {"images/00.png", "masks/00.png", "captions/00.txt", "images/01.png", "masks/01.png"}) {
    put("concepts/racer/" + path, path);
  }
  put("concept-files/racer.safetensors");
  const std::vector<std::pair<std::string, std::string>> deletions = {
      {"concepts/racer/pictures/00.png", "concepts/racer/captions/00.txt"},
      {"concepts/racer/masks/01", "concepts/racer/masks/01.png"},
      {"concepts/racer", "concepts/racer/images/01.png"},
      {"concept-files/racer.safetensors", "concept-files/racer.safetensors"}};
  for (const auto& [deletion, file] : deletions) {
    const auto moved = remove(deletion);
    EXPECT_FALSE(has(file)) << deletion;
    answer("POST", kRestore, moved);
    EXPECT_TRUE(has(file)) << deletion;
  }
  EXPECT_EQ(read_text_file(folder_->root() / "concepts/racer/masks/00.png"), "masks/00.png");
  EXPECT_TRUE(fs::is_empty(folder_->root() / "trash"));
}

TEST_F(Trash, GivesAPictureOfTheGalleryBackAsItWas) {
  when(add_sample("a dog"), "done");
  const std::string one = "/mos/v1/gallery/1";
  const auto before = answer("PATCH", one, {{"starred", true}, {"note", "the best"}});
  const auto moved = answer("POST", "/mos/v1/gallery/delete", {{"ids", {1}}}).at("moved");
  EXPECT_EQ(ask("GET", one).status, 404);
  answer("POST", kRestore, {{"moved", moved}});
  EXPECT_EQ(answer("GET", one).at("picture"), before);
}

TEST_F(Trash, HasTheFolderOfAJobThatIsTakenOffTheList) {
  when(add_sample("a dog"), "done");
  put("jobs/1/previews/step-1.png", "a sample");
  answer("DELETE", "/mos/v1/jobs/1");
  EXPECT_FALSE(has("jobs/1"));
  EXPECT_EQ(read_text_file(folder_->root() / "trash/1/previews/step-1.png"), "a sample");
  EXPECT_TRUE(has("trash/1/events.jsonl"));
}

TEST_F(Trash, GivesNothingBackInThePlaceOfSomethingElse) {
  put("concepts/racer/images/00.png", "old");
  put("concepts/racer/captions/00.txt", "a caption");
  const auto moved = remove("concepts/racer/pictures/00.png");
  put("concepts/racer/images/00.png", "new");
  answer("POST", kRestore, moved, 409);
  EXPECT_EQ(read_text_file(folder_->root() / "concepts/racer/images/00.png"), "new");
  EXPECT_FALSE(has("concepts/racer/captions/00.txt"));  // all or none
  fs::remove(folder_->root() / "concepts/racer/images/00.png");
  answer("POST", kRestore, moved);
  answer("POST", kRestore, moved, 404);
}

TEST_F(Trash, MovesFromTheTrashToPlacesOfDeletionsAlone) {
  put("trash/a.png");
  put("uploads/b.png");
  const auto refused = [this](const std::string& trash, const std::string& path) {
    return ask("POST", kRestore, Json{{"moved", {{{"path", path}, {"trash", trash}}}}}.dump())
        .status;
  };
  EXPECT_EQ(refused("uploads/b.png", "gallery/b.png"), 400);
  EXPECT_EQ(refused("trash/a.png", "models/a.png"), 400);
  EXPECT_EQ(refused("trash/a.png", "jobs/1/a.png"), 400);
  EXPECT_EQ(refused("trash/a.png", "gallery"), 400);
  EXPECT_EQ(refused("trash/a.png", "gallery/../a.png"), 400);
  EXPECT_EQ(refused("trash", "gallery/a"), 400);
  EXPECT_EQ(refused("trash/../studio.sqlite", "gallery/a"), 400);
  const Json entry = {{"path", "gallery/a.png"}, {"trash", "trash/a.png"}};
  EXPECT_EQ(ask("POST", kRestore, Json{{"moved", {entry, entry}}}.dump()).status, 400);
  EXPECT_EQ(ask("POST", kRestore, "{}").status, 400);
  EXPECT_EQ(ask("POST", kRestore, R"({"moved": [1]})").status, 400);
  EXPECT_TRUE(has("trash/a.png"));
}

}  // namespace
}  // namespace mos::studio
