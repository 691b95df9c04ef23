"""Every command that the manual, README.md and docs/*.md show to ordinary users works as printed; root's: tests/kernel."""

import os
import unittest

import examples
import session

os.environ.setdefault("QCOW2BLK_BINARY", str(examples.ROOT / "artifacts/qcow2blk"))


class Examples(unittest.TestCase):
    def setUp(self):
        self.table = examples.Table()

    def test_every_block_is_run_or_says_why_not(self):
        self.assertEqual([], [f"{block.page}:{block.line}: {block.lines[0]}" for block in examples.blocks()
                              if not block.kind and not self.table.reason(block)])

    def test_every_reason_is_for_a_block_that_exists(self):
        blocks = examples.blocks()
        self.assertEqual([], [entry for entry in self.table.skipped
                              if not any(entry["page"] == block.page and block.lines[0].startswith(entry["block"]) for block in blocks)])
        self.assertEqual(set(), set(self.table.pages) - {block.page for block in blocks})

    def test_commands_of_users_work_as_printed(self):
        sessions = self.table.sessions_of("user")
        self.assertTrue(sessions)
        for description in sessions:
            with self.subTest(description["page"]):
                session.Session(description).run()


class Comparison(unittest.TestCase):
    """What the comparison lets pass, and what it does not."""

    def check(self, command, *shown, patterns=()):
        session.Session({"page": "test", "steps": [(command, list(shown))], "setup": [], "fails": {}, "unshown": [],
                         "patterns": list(patterns), "prefixes": ["/run", "/images"]}).run()

    def test_same_output_passes(self):
        self.check("printf 'a  b\\nc\\n'", "a b", "c")

    def test_another_line_fails(self):
        for shown in (["a"], ["b", "a"], [], ["a", "b", "c"]):
            with self.subTest(shown), self.assertRaises(session.Mismatch):
                self.check("printf 'a\\nb\\n'", *shown)

    def test_dots_stand_for_lines_and_for_the_rest_of_one(self):
        self.check("seq 5", "1", "...", "5")
        self.check("echo one two three", "one two ...")
        with self.assertRaises(session.Mismatch):
            self.check("seq 5", "1", "...", "6")

    def test_failing_command_fails(self):
        with self.assertRaises(session.Mismatch):
            self.check("false")

    def test_status_that_a_page_declares_passes_and_no_other(self):
        for status in (3, 4):
            description = {"page": "test", "steps": [(f"(exit {status})", [])], "setup": [], "fails": {f"(exit {status})": [3]},
                           "unshown": [], "patterns": [], "prefixes": ["/run"]}
            with self.subTest(status):
                if status == 3:
                    session.Session(description).run()
                else:
                    self.assertRaises(session.Mismatch, session.Session(description).run)

    def test_value_of_a_pattern_may_differ_and_is_used_later(self):
        session.Session({"page": "test", "steps": [("echo process 4711", ["process 4712"]), ("test 4711 = 4712", [])], "setup": [],
                         "fails": {}, "unshown": [], "patterns": [r"(?<=process )\d+"], "prefixes": ["/run"]}).run()

    def test_folder_of_the_page_is_that_of_the_session(self):
        self.check("touch /images/x; ls /images/x", "/images/x")

    def test_unfinished_command_goes_on_in_the_next_line(self):
        block = examples.Block("page", 1, "", ["$ echo one |", "    cat", "one", "$ echo 'two", "three'", "two", "three"])
        self.assertEqual([("echo one |\n    cat", ["one"]), ("echo 'two\nthree'", ["two", "three"])], block.steps())


if __name__ == "__main__":
    unittest.main()
