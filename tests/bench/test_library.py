"""The conclusions of library.py, without measuring anything."""
import unittest

import library


class Conclusions(unittest.TestCase):
    ROUND = {"raw": 1e6, "sync": 0.8e6, "queue": 450e3, "loop": 300e3, "fio": 500e3, "qemu-threads": 100e3, "qemu-native": 200e3,
             "extra": 250}

    def test_nanoseconds_are_no_rate(self):
        self.assertEqual(library.verdicts([self.ROUND])["sync-extra-ns"], 250)
        self.assertNotIn("extra ", "\n".join(library.lines("/tmp", [self.ROUND])))

    def test_comparisons_are_made_within_a_round(self):
        slow = {name: rate / 10 for name, rate in self.ROUND.items()}
        found = library.verdicts([self.ROUND, slow, slow])
        self.assertAlmostEqual(found["queue-of-fio"], 0.9)
        self.assertAlmostEqual(found["queue-of-qemu"], 4.5)

    def test_table_says_which_target_is_missed(self):
        text = "\n".join(library.lines("/tmp", [self.ROUND]))
        self.assertRegex(text, r"loop at depth 32.* 0\.60  \(target 0\.9: missed\)")
        self.assertRegex(text, r"queue, of qemu-img bench .* 4\.50  \(target 3: met\)")

    def test_what_qemu_says_is_read(self):
        self.assertEqual(library.qemu_seconds("Sending 10 read requests\nRun completed in 1.250 seconds.\n"), 1.25)
        with self.assertRaises(SystemExit):
            library.qemu_seconds("nothing of that kind")


if __name__ == "__main__":
    unittest.main()
