#include "mos/tune/picture_folder.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "mos/base/file.h"
#include "mos/io/image.h"
#include "mos/tune/dataset.h"
#include "tests/support/temp_dir.h"

namespace {

namespace fs = std::filesystem;
using mos::tune::check_dataset;
using mos::tune::find_pictures;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

/// A folder to be filled as other programs and people fill theirs.
class PictureFolder : public ::testing::Test {
 protected:
  fs::path place(const std::string& name) {
    fs::create_directories((folder_ / name).parent_path());
    return folder_ / name;
  }
  void picture(const std::string& name) {
    mos::io::write_png(place(name), torch::full({24, 20, 3}, 90, torch::kUInt8));
  }
  void mask(const std::string& name) {
    mos::io::write_png(place(name), torch::full({24, 20, 1}, 255, torch::kUInt8));
  }
  void text(const std::string& name, const std::string& content) {
    mos::write_text_file(place(name), content);
  }

  /// Names of the pictures with their captions, of a folder that is in order.
  std::map<std::string, std::string> captions(const mos::tune::DatasetOptions& options = {}) {
    std::map<std::string, std::string> result;
    for (const auto& picture : mos::tune::load_dataset(folder_.path(), options).pictures) {
      result[picture.name] = picture.caption.text;
    }
    return result;
  }
  std::map<std::string, std::int64_t> repeats() {
    std::map<std::string, std::int64_t> result;
    for (const auto& picture : mos::tune::load_dataset(folder_.path()).pictures) {
      result[picture.name] = picture.repeats;
    }
    return result;
  }
  std::vector<std::string> problems() { return check_dataset(folder_.path()).problems; }
  std::vector<std::string> warnings() { return check_dataset(folder_.path()).dataset.warnings; }

  mos::TempDir folder_;
};

TEST_F(PictureFolder, CaptionsBesideThePicturesAreRead) {
  picture("00.png");
  picture("01.jpg.png");
  picture("02.PNG");
  text("00.txt", "a <TOK> in the snow");
  text("01.jpg.caption", "a <TOK> at sea");
  text("02.TXT", "a <TOK> at night");
  EXPECT_THAT(captions(),
              ElementsAre(Pair("00", "a <TOK> in the snow"), Pair("01.jpg", "a <TOK> at sea"),
                          Pair("02", "a <TOK> at night")));
  EXPECT_THAT(warnings(), IsEmpty());
  EXPECT_THAT(captions({.use_captions = false}),
              ElementsAre(Pair("00", "<TOK>"), Pair("01.jpg", "<TOK>"), Pair("02", "<TOK>")));
}

TEST_F(PictureFolder, CaptionsAreReadInsideTheFolderOfPicturesToo) {
  picture("images/00.png");
  text("images/00.txt", "a <TOK>, red");
  EXPECT_THAT(captions(), ElementsAre(Pair("00", "a <TOK>, red")));
}

TEST_F(PictureFolder, OneTrainersMasksAreMasksAndNoPictures) {
  for (const char* name : {"00.png", "01.png"}) picture(name);
  mask("00-masklabel.png");
  text("00.txt", "a <TOK>");
  const auto dataset = mos::tune::load_dataset(folder_.path());
  ASSERT_THAT(dataset.pictures, SizeIs(2));
  EXPECT_TRUE(dataset.pictures[0].mask.defined());
  EXPECT_FALSE(dataset.pictures[1].mask.defined());
  EXPECT_EQ(dataset.summary(), "2 pictures, 1 with a mask, 1 with a caption");
  const auto without = mos::tune::load_dataset(folder_.path(), {.use_masks = false});
  EXPECT_EQ(without.summary(), "2 pictures, 1 with a caption");
}

TEST_F(PictureFolder, OneTrainersOtherPicturesAreSaidAndMasksWithoutPictureRefused) {
  picture("00.png");
  mask("00-masklabel1.png");
  picture("00-condlabel.png");
  EXPECT_THAT(warnings(), ElementsAre(AllOf(HasSubstr("not read"), HasSubstr("00-masklabel1.png"),
                                            HasSubstr("00-condlabel.png"))));
  mask("07-masklabel.png");
  EXPECT_THAT(problems(),
              ElementsAre(AllOf(HasSubstr("07-masklabel.png"), HasSubstr("no picture"))));
}

TEST_F(PictureFolder, KohyasFoldersRepeatTheirPictures) {
  picture("10_sks bear/00.png");
  picture("10_sks bear/01.png");
  text("10_sks bear/00.txt", "sks bear in the snow, sks bearskin");
  picture("4_sks bear/00.png");
  EXPECT_THAT(repeats(), ElementsAre(Pair("10_sks bear/00", 5), Pair("10_sks bear/01", 5),
                                     Pair("4_sks bear/00", 2)));
  EXPECT_THAT(captions(),
              ElementsAre(Pair("10_sks bear/00", "<TOK> in the snow, sks bearskin"),
                          Pair("10_sks bear/01", "<TOK>"), Pair("4_sks bear/00", "<TOK>")));
  EXPECT_EQ(mos::tune::load_dataset(folder_.path()).summary(),
            "3 pictures, 1 with a caption; 10_sks bear: 5x; 4_sks bear: 2x; \"sks bear\" stands "
            "for the concept");
}

TEST_F(PictureFolder, OneOfKohyasFoldersAloneRepeatsNothing) {
  picture("10_sks bear/00.png");
  text("10_sks bear/00.caption", "a photo of sks bear");
  EXPECT_THAT(repeats(), ElementsAre(Pair("10_sks bear/00", 1)));
  const auto inside = mos::tune::load_dataset(folder_ / "10_sks bear/");
  ASSERT_THAT(inside.pictures, SizeIs(1));
  EXPECT_EQ(inside.pictures[0].name, "00");
  EXPECT_EQ(inside.pictures[0].caption.text, "a photo of <TOK>");
  EXPECT_EQ(inside.phrase, "sks bear");
}

TEST_F(PictureFolder, KohyasNameOfTheConceptGivesWayToItsWords) {
  picture("10_woman/00.png");
  text("10_woman/00.txt", "<ann1> <ann2> with another woman");
  EXPECT_THAT(captions({.words = {"<ann1>", "<ann2>"}}),
              ElementsAre(Pair("10_woman/00", "<TOK> with another woman")));
  text("10_woman/00.txt", "<TOK> with another woman");
  EXPECT_THAT(captions(), ElementsAre(Pair("10_woman/00", "<TOK> with another woman")));
  text("10_woman/00.txt", "a woman at sea");
  EXPECT_THAT(captions({.words = {"<ann1>", "<ann2>"}}),
              ElementsAre(Pair("10_woman/00", "a <TOK> at sea")));
  text("10_woman/00.txt", "<ann1>, a woman");
  EXPECT_THAT(captions({.words = {"<ann1>", "<ann2>"}}),
              ElementsAre(Pair("10_woman/00", "<ann1>, a woman")))
      << "half of the words is a mistake to be said, not to be made good";
}

TEST_F(PictureFolder, KohyasNameOfTheConceptMayHaveOneOfItsWords) {
  picture("10_sks bear/00.png");
  text("10_sks bear/00.txt", "sks bear in the snow");
  const std::vector<std::vector<std::string>> all_words = {{"sks", "<n1>"},  {"<n1>", "sks"},
                                                           {"bear", "<n1>"}, {"<n1>", "<n2>"},
                                                           {"bear", "sks"},  {"<n1>"}};
  for (const auto& words : all_words) {
    EXPECT_THAT(captions({.words = words}),
                ElementsAre(Pair("10_sks bear/00", "<TOK> in the snow")))
        << testing::PrintToString(words);
  }
  EXPECT_THAT(captions({.words = {"sks"}}),
              ElementsAre(Pair("10_sks bear/00", "<TOK> bear in the snow")));
  text("10_sks bear/00.txt", "sks bear beside another bear");
  EXPECT_THAT(captions({.words = {"bear", "<n1>"}}),
              ElementsAre(Pair("10_sks bear/00", "<TOK> beside another bear")));
}

TEST_F(PictureFolder, KohyasNameThatIsAWordItselfStaysWhereAllWordsStand) {
  picture("10_bear/00.png");
  text("10_bear/00.txt", "a sks big bear on the beach");
  EXPECT_THAT(captions({.words = {"sks", "bear"}}),
              ElementsAre(Pair("10_bear/00", "a sks big bear on the beach")));
  text("10_bear/00.txt", "a bear on the beach");
  EXPECT_THAT(captions({.words = {"sks", "bear"}}),
              ElementsAre(Pair("10_bear/00", "a <TOK> on the beach")));
}

TEST_F(PictureFolder, KohyasProjectWithItsOtherFoldersIsReadAndTheRestIsSaid) {
  picture("img/3_cat/00.png");
  picture("img/loose.png");
  picture("img/0_off/00.png");
  picture("reg/1_cat/00.png");
  text("log/run.txt", "x");
  text("img/3_cat/00_sd.npz", "x");
  EXPECT_THAT(captions(), ElementsAre(Pair("3_cat/00", "<TOK>")));
  EXPECT_THAT(warnings(),
              ElementsAre(AllOf(HasSubstr("not read"), HasSubstr("reg"), HasSubstr("log"),
                                HasSubstr("img/loose.png"), HasSubstr("img/0_off"))));
}

TEST_F(PictureFolder, WhereAllAreRepeatedZeroTimesThatIsSaid) {
  picture("0_off/00.png");
  EXPECT_THAT(problems(), ElementsAre(HasSubstr("holds no pictures; 0_off repeats its pictures 0 "
                                                "times, which leaves them out")));
}

TEST_F(PictureFolder, FoldersThatNameTwoConceptsStandForNeither) {
  picture("5_sks cat/00.png");
  picture("5_abc dog/00.png");
  text("5_abc dog/00.txt", "an abc dog, <TOK>");
  EXPECT_EQ(mos::tune::load_dataset(folder_.path()).phrase, "");
}

TEST_F(PictureFolder, NumbersThatAreNoRepeatsAreNoFoldersOfKohyas) {
  for (const char* name : {"2023", "12cats", "_3", "-1_x", "99999999999999999999_x"}) {
    fs::create_directories(folder_ / name);
  }
  picture("00.png");
  EXPECT_THAT(captions(), ElementsAre(Pair("00", "<TOK>")));
  picture("20000_x/00.png");
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("20000_x"), HasSubstr("10000"))));
}

TEST_F(PictureFolder, AuthorsFoldersAreInTheSingular) {
  picture("image/00.png");
  mask("mask/00.png");
  text("caption/00.txt", "a <TOK>");
  EXPECT_EQ(mos::tune::load_dataset(folder_.path()).summary(),
            "1 picture, 1 with a mask, 1 with a caption");
  picture("images/00.png");
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("image"), HasSubstr("images"))));
}

TEST_F(PictureFolder, SystemFilesArePassedOverEverywhere) {
  for (const char* part : {"images", "masks", "captions", "."}) {
    for (const char* name : {"Thumbs.db", "desktop.ini", ".DS_Store", "._00.png", "._00.txt"}) {
      text(std::string(part) + "/" + name, "x");
    }
  }
  fs::create_directories(folder_ / "__MACOSX");
  picture("images/00.png");
  EXPECT_THAT(captions(), ElementsAre(Pair("00", "<TOK>")));
  EXPECT_THAT(warnings(), IsEmpty());
}

TEST_F(PictureFolder, PicturesOfOtherKindsAreRefusedAndOtherFilesSaid) {
  picture("00.png");
  text("01.bmp", "x");
  text("02.HEIC", "x");
  EXPECT_THAT(problems(), UnorderedElementsAre(HasSubstr("01.bmp"), HasSubstr("02.HEIC")));
  fs::remove(folder_ / "01.bmp");
  fs::remove(folder_ / "02.HEIC");
  text("notes.txt", "not of a picture");
  text("metadata.jsonl", "{}");
  text("clip.mp4", "x");
  picture("old/00.png");
  EXPECT_THAT(warnings(), ElementsAre("not read: clip.mp4, metadata.jsonl, old, notes.txt"));
}

TEST_F(PictureFolder, NamedPipesAreNoFilesAndNobodyWaitsForThem) {
  picture("images/00.png");
  const std::vector<std::string> pipes = {"captions/00.txt", "concept.json", "images/01.png",
                                          "images/02.txt", "masks/00.png"};
  std::vector<::testing::Matcher<std::string>> expected;
  for (const auto& name : pipes) {
    ASSERT_EQ(::mkfifo(place(name).c_str(), 0600), 0);
    expected.emplace_back(name + ": is no file");
  }
  EXPECT_THAT(problems(), ::testing::UnorderedElementsAreArray(expected));
}

TEST_F(PictureFolder, OtherFilesAmongThePicturesAreRefusedAndFoldersSaid) {
  picture("images/00.png");
  picture("images/old/00.png");
  EXPECT_THAT(warnings(), ElementsAre("not read: images/old"));
  text("images/notes.md", "x");
  EXPECT_THAT(problems(), ElementsAre(HasSubstr("images/notes.md: is no picture")));
}

TEST_F(PictureFolder, OfTwoCaptionsOneIsReadAndTheOtherSaid) {
  picture("00.png");
  text("00.caption", "a <TOK>, caption");
  text("00.txt", "a <TOK>, txt");
  EXPECT_THAT(captions(), ElementsAre(Pair("00", "a <TOK>, txt")));
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("00.caption")));
  text("captions/00.txt", "a <TOK>, folder");
  EXPECT_THAT(captions(), ElementsAre(Pair("00", "a <TOK>, folder")));
  EXPECT_THAT(warnings(), ElementsAre(AllOf(HasSubstr("00.caption"), HasSubstr("00.txt"))));
}

TEST_F(PictureFolder, AFolderForAllMustBeClearAboutItsOwner) {
  picture("2_a/00.png");
  picture("1_a/00.png");
  text("captions/00.txt", "a <TOK>");
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("captions/00.txt"), HasSubstr("1_a/00"),
                                            HasSubstr("2_a/00"))));
}

TEST_F(PictureFolder, EmptyOneSaysWherePicturesAre) {
  picture("raw/00.png");
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("no pictures"), HasSubstr("raw"))));
  fs::create_directory(folder_ / "images");
  fs::rename(folder_ / "raw", folder_ / "5_dog");
  EXPECT_THAT(problems(), ElementsAre(AllOf(HasSubstr("no pictures"), HasSubstr("5_dog"))));
}

TEST_F(PictureFolder, OrderIsThatOfTheNames) {
  for (const char* name : {"b.png", "a-b.png", "a.png", "B.png"}) picture(name);
  std::vector<std::string> names;
  for (const auto& files : find_pictures(folder_.path()).pictures) names.push_back(files.name);
  EXPECT_THAT(names, ElementsAre("B", "a", "a-b", "b"));
}

}  // namespace
