#include "textflag.h"

// R9 points at the row's feature, DX at that feature of 8 training rows. A step adds
// the square of the differences to acc.
#define SQUARE(at, of, tmp, acc) \
	VBROADCASTSS at(R9), tmp; \
	VSUBPS of(DX), tmp, tmp; \
	VMULPS tmp, tmp, tmp; \
	VADDPS tmp, acc, acc

// ABSOLUTE is SQUARE for absolute differences; Y15 holds all bits but the sign.
#define ABSOLUTE(at, of, tmp, acc) \
	VBROADCASTSS at(R9), tmp; \
	VSUBPS of(DX), tmp, tmp; \
	VANDPS Y15, tmp, tmp; \
	VADDPS tmp, acc, acc

#define ARGUMENTS \
	MOVQ to+0(FP), DI; \
	MOVQ near+8(FP), R11; \
	MOVQ row+16(FP), SI; \
	MOVQ train+24(FP), DX; \
	MOVQ d+32(FP), CX; \
	MOVQ n+40(FP), R8; \
	VBROADCASTSS limit+48(FP), Y14

#define ZERO \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
	VXORPS Y4, Y4, Y4; \
	VXORPS Y5, Y5, Y5; \
	VXORPS Y6, Y6, Y6; \
	VXORPS Y7, Y7, Y7; \
	MOVQ SI, R9; \
	MOVQ CX, R10

// JOIN adds the second four sums to the first four.
#define JOIN \
	VADDPS Y4, Y0, Y0; \
	VADDPS Y5, Y1, Y1; \
	VADDPS Y6, Y2, Y2; \
	VADDPS Y7, Y3, Y3

// FOLD makes one sum of four.
#define FOLD \
	VADDPS Y2, Y0, Y0; \
	VADDPS Y3, Y1, Y1; \
	VADDPS Y1, Y0, Y0

// STORE writes the sums, and which are below the limit.
#define STORE \
	VMOVUPS Y0, (DI); \
	VCMPPS $1, Y14, Y0, Y1; \
	VMOVMSKPS Y1, AX; \
	MOVB AX, (R11); \
	ADDQ $32, DI; \
	INCQ R11

// func euclideanBlocks(to *float32, near *uint8, row, train *float32, d, n int, limit float32)
TEXT ·euclideanBlocks(SB), NOSPLIT, $0-52
	ARGUMENTS

block:
	TESTQ R8, R8
	JZ    done
	ZERO

eight:
	CMPQ R10, $8
	JLT  joined
	SQUARE(0, 0, Y8, Y0)
	SQUARE(4, 32, Y9, Y1)
	SQUARE(8, 64, Y10, Y2)
	SQUARE(12, 96, Y11, Y3)
	SQUARE(16, 128, Y8, Y4)
	SQUARE(20, 160, Y9, Y5)
	SQUARE(24, 192, Y10, Y6)
	SQUARE(28, 224, Y11, Y7)
	ADDQ $32, R9
	ADDQ $256, DX
	SUBQ $8, R10
	JMP  eight

joined:
	JOIN
	CMPQ R10, $4
	JLT  folded
	SQUARE(0, 0, Y8, Y0)
	SQUARE(4, 32, Y9, Y1)
	SQUARE(8, 64, Y10, Y2)
	SQUARE(12, 96, Y11, Y3)
	ADDQ $16, R9
	ADDQ $128, DX
	SUBQ $4, R10

folded:
	FOLD

rest:
	TESTQ R10, R10
	JZ    store
	SQUARE(0, 0, Y8, Y0)
	ADDQ $4, R9
	ADDQ $32, DX
	DECQ R10
	JMP  rest

store:
	STORE
	DECQ R8
	JMP  block

done:
	VZEROUPPER
	RET

// func manhattanBlocks(to *float32, near *uint8, row, train *float32, d, n int, limit float32)
TEXT ·manhattanBlocks(SB), NOSPLIT, $0-52
	ARGUMENTS
	VPCMPEQD Y15, Y15, Y15
	VPSRLD $1, Y15, Y15

block:
	TESTQ R8, R8
	JZ    done
	ZERO

eight:
	CMPQ R10, $8
	JLT  joined
	ABSOLUTE(0, 0, Y8, Y0)
	ABSOLUTE(4, 32, Y9, Y1)
	ABSOLUTE(8, 64, Y10, Y2)
	ABSOLUTE(12, 96, Y11, Y3)
	ABSOLUTE(16, 128, Y8, Y4)
	ABSOLUTE(20, 160, Y9, Y5)
	ABSOLUTE(24, 192, Y10, Y6)
	ABSOLUTE(28, 224, Y11, Y7)
	ADDQ $32, R9
	ADDQ $256, DX
	SUBQ $8, R10
	JMP  eight

joined:
	JOIN
	CMPQ R10, $4
	JLT  folded
	ABSOLUTE(0, 0, Y8, Y0)
	ABSOLUTE(4, 32, Y9, Y1)
	ABSOLUTE(8, 64, Y10, Y2)
	ABSOLUTE(12, 96, Y11, Y3)
	ADDQ $16, R9
	ADDQ $128, DX
	SUBQ $4, R10

folded:
	FOLD

rest:
	TESTQ R10, R10
	JZ    store
	ABSOLUTE(0, 0, Y8, Y0)
	ADDQ $4, R9
	ADDQ $32, DX
	DECQ R10
	JMP  rest

store:
	STORE
	DECQ R8
	JMP  block

done:
	VZEROUPPER
	RET
