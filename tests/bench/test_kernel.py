#!/usr/bin/python3
"""What the benchmark of kernel block devices concludes from its samples."""
import tempfile
import unittest
from dataclasses import asdict
from pathlib import Path

import kernel
import kernel_cells
import kernel_report

CELL = kernel_cells.select(["4k-randread"])[0]


def sample(subject, rate, cpu, instructions=None):
    return {"cell": CELL.name, "subject": subject, "round": 0, "ios": rate * 2, "seconds": 2.0, "busy": 3.0, "server": 1.0, "client": 0.5,
            "switches": 10, "cpu": cpu * rate * 2, "timed": instructions is None, "counted": instructions is not None,
            "user_instructions": 0, "kernel_instructions": (instructions or 0) * rate * 2}


def results_of(*samples):
    names = [subject["name"] for subject in kernel_cells.subjects([], ["ublk", "nbd"])]
    return {"date": "2026-01-01", "placement": "disk", "cells": [asdict(CELL)], "samples": list(samples), "absent": {"nbd": "no module"},
            "commands": dict.fromkeys(names, "c"), "settings": {"rounds": 1, "runtime_seconds": 2, "steady": False},
            "host": {"emulator": "q", "processor": "p", "cores": 2, "kernel": "k", "load_before": 0.0},
            "guest": {"ours": "o", "processors": 2, "memory_bytes": 1 << 30, "kernel": "7", "qemu": "q", "fio": "f"}}


class Conclusions(unittest.TestCase):
    samples = [sample("ublk", 400, 10e-6), sample("ublk", 360, 10e-6), sample("ublk", 300, 10e-6), sample("qemu-nbd native", 90, 25e-6),
               sample("qemu-nbd io_uring", 100, 19e-6), sample("null", 720, 5e-6), sample("ublk", 1, 1, 3000),
               sample("qemu-nbd io_uring", 1, 1, 9000), sample("no server", 900, 1e-6), sample("no server", 1, 1, 1000)]

    def row(self):
        return dict(zip(kernel_report.RATIOS, next(iter(kernel_report.ratio_rows(results_of(*self.samples))))))

    def test_the_rival_is_the_faster_qemu_and_ratios_are_of_medians(self):
        row = self.row()
        self.assertEqual((row["rival"], row["IOPS"], row["ratio"]), ("io_uring", "360", "3.60"))
        self.assertEqual(row["of the ceiling"], "50 %")

    def test_counted_windows_are_no_part_of_the_rates(self):
        self.assertEqual((self.row()["instructions per I/O"], self.row()["CPU µs per I/O"]), ("3000", "10"))

    def test_the_client_is_taken_off_both(self):
        self.assertEqual(self.row()["without the client"], "4.00")

    def test_targets_are_judged(self):
        row = list(kernel_report.ratio_rows(results_of(*self.samples)))[0]
        self.assertEqual((row[6], row[10]), ("3.5 reached", "2.0 missed"))
        self.assertEqual(kernel_report.verdict(results_of(*self.samples)), "targets reached: 1 of 2")

    def test_the_page_keeps_what_stands_around(self):
        with tempfile.NamedTemporaryFile("w+") as page:
            page.write(f"before\n{kernel_report.BEGIN}\nold\n{kernel_report.END}\nafter\n")
            page.flush()
            kernel_report.fill(page.name, [results_of(*self.samples)])
            text = Path(page.name).read_text()
        self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
        self.assertNotIn("old", text)
        self.assertIn("nbd was not measured: no module", text)


class Options(unittest.TestCase):
    def test_names_are_unique_and_unknown_ones_refused(self):
        names = [cell.name for cell in kernel_cells.ALL]
        self.assertEqual(len(names), len(set(names)))
        with self.assertRaises(SystemExit):
            kernel_cells.select(["no-such-cell"])

    def test_modes_stand_in_for_ublk(self):
        names = [subject["name"] for subject in kernel_cells.subjects(["map", "zero-copy"], ["ublk"])]
        self.assertEqual(names[1:3], ["ublk map", "ublk zero-copy"])

    def test_quick_leaves_counting_out(self):
        self.assertTrue(kernel.parse(["--quick"]).no_count)
        self.assertEqual(kernel.parse(["--placement", "disk"]).placement, ["disk"])


if __name__ == "__main__":
    unittest.main()
