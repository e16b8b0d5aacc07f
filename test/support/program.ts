import { accessSync, constants } from 'node:fs'
import { spawn } from 'node:child_process'
import type { SpawnOptions } from 'node:child_process'
import { join } from 'node:path'

/** Returns the path of a program, or undefined. Also searches `sbin`, which an ordinary user's PATH may lack. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin']
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable)
}

/** Runs a program. Resolves to its stdout; rejects with its stderr if it fails. */
export async function run(
  program: string,
  args: readonly string[],
  options: SpawnOptions & { readonly input?: Buffer | string } = {},
): Promise<Buffer> {
  const { input, ...spawnOptions } = options
  const child = spawn(findProgram(program) ?? program, args, {
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    ...spawnOptions,
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
  child.stdin?.end(input)
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown'))
  })
  if (code === 0) return Buffer.concat(out)
  const said = Buffer.concat(err).toString().trim() || Buffer.concat(out).toString().trim().slice(-2000)
  throw new Error(`${program} ${args.join(' ')}: exit ${code}: ${said}`)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
