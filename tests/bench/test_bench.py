#!/usr/bin/python3
"""What the benchmark concludes from its figures: medians, rivals, targets, pages."""
import json
import os
import unittest
from dataclasses import asdict, replace
from xml.etree import ElementTree

import bench
import cells
import chart
import images
import measure
import report
import servers

CELL = next(cell for cell in cells.ALL if cell.name == "4k-randread-qd16")
MIB = 1024 * 1024


def sample(iops, per_cpu=1000.0, resident=10 * MIB):
    return measure.Sample(iops, iops * 4096, per_cpu, 0.001, resident)


def results_of(*cell_results):
    return {"ours": "qcow2blk <1>", "date": "2026-01-01", "cells": list(cell_results), "commands": {"a": "a {image}"},
            "first_byte_seconds": {"qcow2blk": 0.02, "qemu-nbd x": 0.01}, "binary_bytes": 9 * MIB,
            "machine": {"processor": "p", "cores": 2, "memory_bytes": 1 << 30, "kernel": "k", "qemu": "q", "fio": "f",
                        "load_before": 0.0}, "settings": {"rounds": 3, "runtime_seconds": 4},
            "limits": {"first_byte_seconds": 0.05, "binary_bytes": 8 * MIB, "resident_over_rival_bytes": 8 * MIB}}


class Conclusions(unittest.TestCase):
    def result(self, ours, *rivals):
        return bench.cell_result(CELL, "ours", {"ours": ours, **{f"r{i}": rival for i, rival in enumerate(rivals)}})

    def test_the_rival_is_the_fastest_and_ratios_are_of_medians(self):
        result = self.result([sample(100), sample(900), sample(200)], [sample(50)], [sample(80)])
        self.assertEqual(result["rival"], "r1")
        self.assertAlmostEqual(result["ratios"]["iops"], 200 / 80)

    def test_a_target_just_missed_is_not_reached(self):
        missed = self.result([sample(189, per_cpu=2200)], [sample(100)])
        self.assertEqual(report.count_targets(results_of(missed)), (1, 2))
        self.assertIn("1.9 NO", report.text(results_of(missed)))
        self.assertIn("2.2 yes", report.text(results_of(missed)))

    def test_the_build_before_is_compared_and_is_no_rival(self):
        result = bench.cell_result(CELL, "ours", {"ours": [sample(100), sample(300)], "before": [sample(200), sample(200)],
                                                  "r": [sample(50), sample(50)]})
        self.assertEqual(result["rival"], "r")
        self.assertEqual(result["before"]["pairs"], [0.5, 1.5])
        self.assertAlmostEqual(result["before"]["iops"], 1.0)
        self.assertIn("| 1.00 | 0.50 1.50 |", report.text(results_of(result)))
        self.assertNotIn("build before", report.text(results_of(self.result([sample(100)], [sample(50)]))))

    def test_limits_that_are_passed_are_told(self):
        heavy = self.result([sample(100, resident=30 * MIB)], [sample(100)])
        text = report.text(results_of(heavy))
        self.assertIn("binary: 9.00 MiB (limit 8 MiB: NO)", text)
        self.assertIn("+20.0 MiB against the rival", text)
        self.assertIn("20.0 ms (limit 50 ms: yes)", text)

    def test_what_limits_cost_is_told_where_it_was_measured(self):
        results = results_of(self.result([sample(100)], [sample(100)]))
        self.assertNotIn("limits that are set", report.text(results))
        self.assertIn("to none: 0.98 (round by round 0.90 0.98 1.02)",
                      report.text({**results, "limited_to_unlimited": [0.9, 0.98, 1.02]}))

    def test_results_survive_json_and_the_chart_is_well_formed(self):
        results = json.loads(json.dumps(results_of(self.result([sample(100)], [sample(100)]))))
        ElementTree.fromstring(chart.of_results(results))
        page = report.fill(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", results)
        self.assertTrue(page.startswith("before\n") and page.endswith("\nafter\n"))
        self.assertNotIn("old", page)


class Servers(unittest.TestCase):
    def test_every_server_has_a_command_for_encrypted_images(self):
        for kind in (servers.ours("qcow2blk"), servers.before("old"), *servers.RIVALS.values()):
            self.assertIn("{key}", kind.encrypted_command)
            self.assertNotIn("{key}", kind.command)

    def test_every_feature_of_the_format_has_cells(self):
        for kind in images.FEATURES:
            self.assertEqual(len([cell for cell in cells.ALL if cell.image == kind]), 4)


class Charts(unittest.TestCase):
    def test_chart_of_the_block_devices_reads_the_page_as_it_is(self):
        with open(os.path.join(bench.ROOT, "docs/benchmarks/kernel.md"), encoding="utf-8") as file:
            drawn = ElementTree.fromstring(chart.of_kernel_page(file.read()))
        texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("4k-randread", texts)
        self.assertIn("/dev/ublkbN", texts)

    def test_chart_says_nothing_of_targets(self):
        drawn = chart.draw("title", ("a", "b"), [("4k", 2.0, None)])
        self.assertEqual(drawn.count("<rect"), 1 + 2 + 1)
        self.assertNotIn("target", drawn)


class Cells(unittest.TestCase):
    def test_names_are_unique_and_patterns_select(self):
        names = [cell.name for cell in cells.ALL]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual([cell.name for cell in cells.select(["zstd-*"])], ["zstd-64k-read-qd16", "zstd-64k-randread-qd16"])
        with self.assertRaises(SystemExit):
            cells.select(["no-such-cell"])

    def test_allocating_cells_end_after_fixed_work_and_others_after_time(self):
        for cell in cells.ALL:
            line = measure.fio_command(cell, "nbd+unix://", 1 << 30, 4)
            self.assertEqual("--time_based" in line, cell.image != "empty", cell.name)
        doubled = replace(CELL, jobs=2)
        self.assertIn("--numjobs=2", measure.fio_command(doubled, "nbd+unix://", 1 << 30, 4))
        self.assertEqual(asdict(doubled)["jobs"], 2)


if __name__ == "__main__":
    unittest.main()
