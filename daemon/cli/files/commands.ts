import { cat } from "./cat.js";
import { du } from "./du.js";
import { get } from "./get.js";
import { info } from "./info.js";
import type { FilesCommand } from "./job.js";
import { ls } from "./ls.js";
import { mkdir } from "./mkdir.js";
import { mv } from "./mv.js";
import { put } from "./put.js";
import { rm } from "./rm.js";
import { stat } from "./stat.js";
import { tree } from "./tree.js";

/** The commands on the files of a cluster. */
export const FILE_COMMANDS: readonly FilesCommand[] = [ls, tree, stat, info, du, cat, put, get, mkdir, mv, rm];
