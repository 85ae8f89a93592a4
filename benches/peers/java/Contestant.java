// Java's side of `cargo versus`, as far as it is about memory; benches/program/src has the protocol and the sizes.

import java.lang.management.ManagementFactory;
import java.util.Arrays;

public final class Contestant {
    private static int scale = 1;

    private static int log2() {
        return 31 - Integer.numberOfLeadingZeros(scale);
    }

    private static int size(int full) {
        return Math.max(1, full / scale);
    }

    private static void tell(String metric, double value) {
        System.out.println(metric + " " + value);
    }

    private static void check(boolean ok, String what) {
        if (!ok) {
            throw new AssertionError("wrong result: " + what);
        }
    }

    private static void refuse(String why) {
        System.err.println(why + "\nusage: PROGRAM WORKLOAD [--scale N] [--procs N] (the names: `cargo versus --list`)");
        System.exit(2);
    }

    public static void main(String[] args) throws Exception {
        if (args.length % 2 == 0) {
            refuse("a workload is missing");
        }
        for (int i = 1; i < args.length; i += 2) {
            int n = args[i + 1].matches("[1-9][0-9]{0,8}") ? Integer.parseInt(args[i + 1]) : 0;
            switch (n > 0 ? args[i] : "") {
                case "--scale" -> scale = n;
                case "--procs" -> { } // `cargo versus` gives it to the virtual machine
                default -> refuse("not understood: " + args[i] + " " + args[i + 1]);
            }
        }
        switch (args[0]) {
            case "trees-1w" -> trees(1);
            case "trees-2w" -> trees(2);
            case "gcbench" -> gcbench();
            case "alloc-16" -> alloc(16, 1);
            case "alloc-32" -> alloc(32, 1);
            case "alloc-64" -> alloc(64, 1);
            case "alloc-128" -> alloc(128, 1);
            case "alloc-1024" -> alloc(1024, 1);
            case "alloc-4096" -> alloc(4096, 1);
            case "alloc-32-2w" -> alloc(32, 2);
            case "ring" -> ring();
            default -> refuse("no workload is called `" + args[0] + "`");
        }
    }

    private static void workers(int n, java.util.function.IntConsumer work) throws InterruptedException {
        Thread[] all = new Thread[n];
        Throwable[] failed = new Throwable[1];
        for (int i = 0; i < n; i++) {
            int worker = i;
            all[i] = new Thread(() -> work.accept(worker));
            all[i].setUncaughtExceptionHandler((thread, e) -> failed[0] = e);
            all[i].start();
        }
        for (Thread thread : all) {
            thread.join();
        }
        if (failed[0] != null) {
            throw new AssertionError(failed[0]);
        }
    }

    private static void checkTree(int depth, long nodes) {
        check(nodes == (1L << (depth + 1)) - 1, "nodes of a tree of depth " + depth);
    }

    private static final class Tree {
        final Tree left, right;

        Tree(int depth) {
            left = depth > 0 ? new Tree(depth - 1) : null;
            right = depth > 0 ? new Tree(depth - 1) : null;
        }

        long count() {
            return 1 + (left == null ? 0 : left.count()) + (right == null ? 0 : right.count());
        }
    }

    private static void trees(int workers) throws InterruptedException {
        int depth = Math.max(4, 19 - log2());
        long begin = System.nanoTime();
        checkTree(depth + 1, new Tree(depth + 1).count());
        Tree longLived = new Tree(depth);
        workers(workers, worker -> {
            for (int d = 4; d <= depth; d += 4) {
                for (int i = worker; i < 1 << (depth - d + 4); i += workers) {
                    checkTree(d, new Tree(d).count());
                }
            }
        });
        checkTree(depth, longLived.count());
        tell("wall", (System.nanoTime() - begin) / 1e6);
    }

    private static final class Node {
        Node left, right;
        int i, j;

        static Node bottomUp(int depth) {
            Node node = new Node();
            if (depth > 0) {
                Node left = bottomUp(depth - 1), right = bottomUp(depth - 1);
                node.left = left;
                node.right = right;
            }
            return node;
        }

        static Node topDown(int depth) {
            Node node = new Node();
            node.populate(depth);
            return node;
        }

        void populate(int depth) {
            if (depth > 0) {
                left = new Node();
                right = new Node();
                left.populate(depth - 1);
                right.populate(depth - 1);
            }
        }

        long count() {
            return 1 + (left == null ? 0 : left.count()) + (right == null ? 0 : right.count());
        }
    }

    /** Where trees go, so that they are made. */
    private static volatile Object sink;

    private static void gcbench() {
        int depth = Math.max(4, 18 - log2());
        long begin = System.nanoTime();
        checkTree(depth + 2, Node.bottomUp(depth + 2).count());
        Node longLived = Node.topDown(depth);
        double[] numbers = new double[8 << depth];
        Arrays.fill(numbers, 0.5);
        for (int d = 4; d <= depth; d += 2) {
            for (int i = 0; i < 2 << (depth + 2 - d); i++) {
                sink = Node.topDown(d);
            }
            for (int i = 0; i < 2 << (depth + 2 - d); i++) {
                sink = Node.bottomUp(d);
            }
            sink = null;
            checkTree(d, Node.topDown(d).count());
        }
        checkTree(depth, longLived.count());
        double sum = 0;
        for (double x : numbers) {
            sum += x;
        }
        check(sum == numbers.length / 2.0 && longLived.i == 0 && longLived.j == 0, "gcbench");
        tell("wall", (System.nanoTime() - begin) / 1e6);
    }

    private static final int KEPT = 8, LIVE_DEPTH = 19;

    private static final class Live {
        final Live left, right;
        final long a = one(), b = one(), c = one(), d = one();

        Live(int depth) {
            left = depth > 0 ? new Live(depth - 1) : null;
            right = depth > 0 ? new Live(depth - 1) : null;
        }

        /** No constant that the compiler could keep instead of a field. */
        static long one() {
            return 1;
        }

        long sum() {
            return a + b + c + d + (left == null ? 0 : left.sum()) + (right == null ? 0 : right.sum());
        }
    }

    /** What is in an object besides its head, which takes 16 bytes more. */
    private static void churn(int words, int n) {
        long[][] kept = new long[KEPT][];
        long sum = 0;
        for (int i = 0; i < n; i++) {
            long[] old = kept[i % KEPT];
            sum += old == null ? 0 : old[0];
            long[] object = new long[words];
            object[0] = i;
            kept[i % KEPT] = object;
        }
        long last = Math.max(0, n - KEPT);
        check(sum == last * (last - 1) / 2, "numbers read back");
    }

    private static double cpuNanos() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime();
    }

    private static void alloc(int bytes, int workers) throws InterruptedException {
        int n = size((int) Math.min(20_000_000, (2L << 30) / bytes));
        Live live = new Live(LIVE_DEPTH);
        double cpu = cpuNanos();
        long begin = System.nanoTime();
        workers(workers, worker -> churn(bytes / 8, n));
        tell("time", (double) (System.nanoTime() - begin) / n);
        tell("cpu", (cpuNanos() - cpu) / ((double) n * workers));
        check(live.sum() == 4 * ((1L << (LIVE_DEPTH + 1)) - 1), "the live heap");
    }

    private static void ring() {
        int window = size(200_000), n = size(2_000_000);
        byte[][] messages = new byte[window][];
        long[] nanos = new long[n];
        for (int i = 0; i < n; i++) {
            long begin = System.nanoTime();
            int at = i % window;
            int before = messages[at] == null ? -1 : messages[at][1023] & 0xff;
            byte[] message = new byte[1024];
            Arrays.fill(message, (byte) i);
            messages[at] = message;
            nanos[i] = System.nanoTime() - begin;
            check(before == (i < window ? -1 : (i - window) & 0xff), "the oldest message");
        }
        Arrays.sort(nanos);
        String[] names = {"median", "p90", "p99", "p99.9", "p99.99", "worst"};
        double[] shares = {0.5, 0.9, 0.99, 0.999, 0.9999, 1};
        for (int i = 0; i < names.length; i++) {
            tell(names[i], nanos[Math.min(n - 1, (int) (n * shares[i]))] / 1e3);
        }
    }
}
