import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A temporary directory and the processes that work in it. Disposal kills the processes and removes the directory. */
export class Scratch implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'layerstack-durable-'))
  readonly #children: ChildProcess[] = []

  path(...names: string[]): string {
    return join(this.root, ...names)
  }

  /** Starts a script of this folder. */
  start(script: string, args: readonly string[], environment: Record<string, string> = {}): ChildProcess {
    const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...environment },
    })
    this.#children.push(child)
    return child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#children.map(kill))
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** Kills it with SIGKILL and waits for its exit. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Resolves at its first output. */
export async function heard(child: ChildProcess): Promise<void> {
  if (child.stdout === null) throw new Error('the stdout of the child is not a pipe')
  await once(child.stdout, 'data')
}
