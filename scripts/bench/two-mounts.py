#!/usr/bin/env python3
"""Two mounts of one cluster that create, stat and unlink in one folder, against one mount that does so alone.

usage: two-mounts.py MOUNT1 MOUNT2 [COUNT]      prints operations per second: alone, and both together, with the ratio
"""
import os, sys, time

def work(folder, mark, count):
    for i in range(count):
        path = f'{folder}/{mark}{i}'
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.stat(path)
    for i in range(count): os.unlink(f'{folder}/{mark}{i}')

def timed(folders, mark, count):
    start = time.perf_counter()
    children = []
    for n, folder in enumerate(folders):
        pid = os.fork()
        if pid == 0:
            work(folder, f'{mark}{n}-', count)
            os._exit(0)
        children.append(pid)
    for pid in children:
        if os.waitpid(pid, 0)[1] != 0: sys.exit('a worker failed')
    return 3 * count * len(folders) / (time.perf_counter() - start)

def main():
    first, second = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 5000
    name = f'two-mounts.{os.getpid()}'
    os.mkdir(f'{first}/{name}')
    timed([f'{first}/{name}'], 'w', count // 5)
    for _ in range(3):
        alone = timed([f'{first}/{name}'], 'a', count)
        same = timed([f'{first}/{name}'] * 2, 's', count // 2)
        both = timed([f'{first}/{name}', f'{second}/{name}'], 'b', count // 2)
        print(f'one process {alone:6.0f}/s   two on one mount {same:6.0f}/s   two on two mounts {both:6.0f}/s   '
              f'{both / alone:.2f} of one, {both / same:.2f} of two on one mount', flush=True)
    os.rmdir(f'{first}/{name}')

main()
